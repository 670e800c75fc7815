import type { Clock, DurationMs } from '../clock.ts';

/** Redis did not answer in time. */
export class RedisTimeoutError extends Error {
  override readonly name = 'RedisTimeoutError';
  readonly code = 'ERR_REDIS_TIMEOUT';
}

/** Parts that a time is waited in. */
const SLICES = 5;

/**
 * Waits for an answer for a while. The while is waited in slices, each followed by a look at
 * the sockets: time in which this process was itself too busy to read is hardly held against
 * Redis.
 *
 * @throws RedisTimeoutError, or what `answer` rejects with.
 */
export function within<T>(clock: Clock, limit: DurationMs, answer: Promise<T>): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  let timer = clock.setTimeout(() => next(1), limit / SLICES);
  let over = false;
  const next = (slice: number): void => {
    // Immediates run after the poll for I/O.
    setImmediate(() => {
      if (over) return;
      if (slice >= SLICES) reject(new RedisTimeoutError(`no answer within ${limit} ms`));
      else timer = clock.setTimeout(() => next(slice + 1), limit / SLICES);
    });
  };
  answer.then(resolve, reject);
  return promise.finally(() => {
    over = true;
    clock.clearTimeout(timer);
  });
}
