import type { DurationMs } from '../clock.ts';
import type { TlsIdentity } from './connections.ts';

/** A GET, ready to be carried out by whoever has connections; plain values only. */
export interface GetRequest extends TlsIdentity {
  readonly url: string;
  /** From the call to the last byte of the answer. */
  readonly timeout: DurationMs;
  /** Bearer token to present (RFC 6750). */
  readonly bearer?: string | undefined;
}

/** A URL as `exchange` and undici take it. */
export function target(url: string): { readonly origin: string; readonly path: string } {
  const { origin, pathname, search } = new URL(url);
  return { origin, path: pathname + search };
}

/** The headers of a request. */
export function headersOf(request: GetRequest, accept: string): Record<string, string> {
  return {
    accept,
    ...(request.bearer !== undefined && { authorization: `Bearer ${request.bearer}` }),
  };
}
