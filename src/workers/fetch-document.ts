import type { DurationMs } from '../clock.ts';
import { ExchangeTooLargeError, exchange } from '../eks-auth/exchange.ts';
import { scrub } from '../telemetry/scrub.ts';
import { outgoing } from './outgoing.ts';

/** A JSON document to get from an issuer or the API server. */
export interface FetchDocumentTask {
  readonly url: string;
  readonly timeout: DurationMs;
  /** CA certificates (PEM) to trust instead of the usual ones; the API server's. */
  readonly ca?: string;
  /** Bearer token to present; the broker's own at the API server. */
  readonly bearer?: string;
  /** Client certificate and key (PEM), where a kubeconfig logs in by certificate. */
  readonly clientCertificate?: { readonly cert: string; readonly key: string };
}

/** What came of it. `failure` is for the log: it quotes nothing of the answer. */
export type FetchedDocument =
  | { readonly document: unknown; readonly failure?: undefined }
  | { readonly document?: undefined; readonly failure: string };

/** Key sets have a type of their own (RFC 7517), which the API server wants to be asked for. */
const ACCEPTED = 'application/json, application/jwk-set+json';

/** More than any key set needs; an endless answer ends here. */
const MOST_BYTES = 256 * 1024;

/**
 * Task: gets one JSON document with a single GET. Redirects are not followed, the answer is
 * bounded in size and the whole in time.
 */
export async function fetchDocument(task: FetchDocumentTask): Promise<FetchedDocument> {
  const { origin, pathname, search } = new URL(task.url);
  const headers: Record<string, string> = { accept: ACCEPTED };
  if (task.bearer !== undefined) headers.authorization = `Bearer ${task.bearer}`;
  try {
    const { status, body } = await exchange(
      outgoing(task),
      { origin, path: pathname + search, method: 'GET', headers },
      { timeout: task.timeout, maxBytes: MOST_BYTES },
    );
    if (status !== 200) return { failure: `answered ${status}` };
    return { document: JSON.parse(body.toString('utf8')) };
  } catch (error) {
    return { failure: describe(error) };
  }
}

function describe(error: unknown): string {
  // The parser's message quotes what it was given.
  if (error instanceof SyntaxError) return 'answered something that is not JSON';
  if (error instanceof ExchangeTooLargeError) return `answered more than ${MOST_BYTES / 1024} KiB`;
  if (!(error instanceof Error)) return 'failed';
  const { code } = error as NodeJS.ErrnoException;
  const message = scrub(error.message);
  return code === undefined || message.includes(code) ? message : `${message} (${code})`;
}
