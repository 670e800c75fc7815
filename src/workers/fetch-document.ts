import { describeFailure } from '../http/describe-failure.ts';
import { ExchangeTooLargeError, exchange } from '../http/exchange.ts';
import { type GetRequest, headersOf, target } from '../http/get-request.ts';
import { outgoing } from './outgoing.ts';

/** What came of it. `failure` is for the log: it quotes nothing of the answer. */
export type FetchedDocument =
  | { readonly document: unknown; readonly failure?: undefined }
  | { readonly document?: undefined; readonly failure: string };

/** Key sets have a type of their own (RFC 7517), which the API server wants to be asked for. */
const ACCEPTED = 'application/json, application/jwk-set+json';

/** More than any key set needs; an endless answer ends here. */
const MAX_BYTES = 256 * 1024;

/**
 * Task: gets one JSON document with a single GET. Redirects are not followed, the answer is
 * bounded in size and the whole in time.
 */
export async function fetchDocument(request: GetRequest): Promise<FetchedDocument> {
  try {
    const { status, body } = await exchange(
      outgoing(request),
      { ...target(request.url), method: 'GET', headers: headersOf(request, ACCEPTED) },
      { timeout: request.timeout, maxBytes: MAX_BYTES },
    );
    if (status !== 200) return { failure: `answered ${status}` };
    return { document: JSON.parse(body.toString('utf8')) };
  } catch (error) {
    // The parser's message quotes what it was given.
    if (error instanceof SyntaxError) return { failure: 'answered something that is not JSON' };
    if (error instanceof ExchangeTooLargeError) {
      return { failure: `answered more than ${MAX_BYTES / 1024} KiB` };
    }
    return { failure: describeFailure(error) };
  }
}
