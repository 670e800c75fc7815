import type { ClientResult } from '../load/clients.ts';
import { BrokenRunError } from './broken-run.ts';
import type { Variant } from './target.ts';

/**
 * Where EKS Auth throttles, is slow or away, a client of ours may be told to come back (503)
 * or lose patience; everything else that is not an answer is a broken run. A peer may fail as
 * it likes.
 *
 * @throws BrokenRunError about the first failure that should not be.
 */
export function checkFailures(
  variant: Variant,
  results: readonly Pick<ClientResult, 'status' | 'failure' | 'body'>[],
): void {
  if (variant === 'peer') return;
  const wrong = results.find(
    ({ status, failure }) =>
      status !== 200 && status !== 503 && !(status === 0 && failure === 'patience'),
  );
  if (wrong === undefined) return;
  const { status, failure, body } = wrong;
  throw new BrokenRunError(`${variant}: a pod was answered ${status}: ${failure ?? body}`);
}
