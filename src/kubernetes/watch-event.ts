import { StreamError } from './json-stream.ts';
import { type PodFacts, readPod } from './pod.ts';

/** Where the watch was to go on from is too long ago: 410 Gone. */
export class WatchExpiredError extends Error {
  override readonly name = 'WatchExpiredError';
  readonly code = 'ERR_WATCH_EXPIRED';

  constructor() {
    super('the API server no longer knows where the watch was');
  }
}

/** One line of a watch. */
export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  /** Undefined for a bookmark. */
  readonly pod: PodFacts | undefined;
  /** Where to go on from after it. */
  readonly version: string;
}

const WITH_PODS: ReadonlySet<unknown> = new Set(['ADDED', 'MODIFIED', 'DELETED']);

/**
 * Reads a line of a watch of pods.
 *
 * @throws WatchExpiredError for an error 410; StreamError for all else that is no event of a
 *   pod, which may hide one, so that the pods have to be listed anew.
 * @see https://kubernetes.io/docs/reference/using-api/api-concepts/#watch-bookmarks
 */
export function readEvent(line: string): WatchEvent {
  let event: unknown;
  try {
    event = JSON.parse(line);
  } catch {
    throw new StreamError('a line of the watch is not JSON');
  }
  const { type, object } = (event ?? {}) as { type?: unknown; object?: ObjectOfEvent | null };
  if (type === 'ERROR') {
    if (object?.code === 410) throw new WatchExpiredError();
    const code = typeof object?.code === 'number' ? ` ${object.code}` : '';
    throw new StreamError(`the watch ended with an error${code}`);
  }
  const version = object?.metadata?.resourceVersion;
  if (typeof version !== 'string' || version === '') {
    throw new StreamError('an event of the watch has no resourceVersion');
  }
  if (type === 'BOOKMARK') return { type, pod: undefined, version };
  const pod = WITH_PODS.has(type) ? readPod(object) : undefined;
  if (pod === undefined) throw new StreamError('an event of the watch is none of a pod');
  return { type: type as 'ADDED' | 'MODIFIED' | 'DELETED', pod, version };
}

interface ObjectOfEvent {
  readonly code?: unknown;
  readonly metadata?: { readonly resourceVersion?: unknown };
}
