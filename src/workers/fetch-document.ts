import { request } from 'undici';
import type { DurationMs } from '../clock.ts';
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

/** More than any key set needs; an endless answer ends here. */
const MOST_BYTES = 256 * 1024;

/**
 * Task: gets one JSON document with a single GET. Redirects are not followed, the answer is
 * bounded in size and the whole in time.
 */
export async function fetchDocument(task: FetchDocumentTask): Promise<FetchedDocument> {
  try {
    const headers: Record<string, string> = { accept: 'application/json' };
    if (task.bearer !== undefined) headers.authorization = `Bearer ${task.bearer}`;
    const answer = await request(task.url, {
      dispatcher: outgoing(task),
      headers,
      signal: AbortSignal.timeout(task.timeout),
    });
    if (answer.statusCode !== 200) {
      answer.body.on('error', () => undefined).destroy();
      return { failure: `answered ${answer.statusCode}` };
    }
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
      size += chunk.length;
      if (size > MOST_BYTES) return { failure: `answered more than ${MOST_BYTES / 1024} KiB` };
      chunks.push(chunk);
    }
    return { document: JSON.parse(Buffer.concat(chunks).toString('utf8')) };
  } catch (error) {
    return { failure: describe(error, task.timeout) };
  }
}

function describe(error: unknown, timeout: DurationMs): string {
  if (error instanceof SyntaxError) return 'answered something that is not JSON';
  if (!(error instanceof Error)) return 'failed';
  if (error.name === 'TimeoutError') return `did not answer within ${timeout} ms`;
  const code = (error as NodeJS.ErrnoException).code;
  return code === undefined ? error.message : `${error.message} (${code})`;
}
