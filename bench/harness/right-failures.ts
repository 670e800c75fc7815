import type { ClientResult } from '../load/clients.ts';
import { BrokenRunError } from './broken-run.ts';
import type { Variant } from './variants.ts';

type Outcome = Pick<ClientResult, 'status' | 'failure' | 'body'>;

/**
 * Where EKS Auth throttles, is slow or away, a client of ours may be told to come back (503)
 * or lose patience; everything else that is not an answer is a broken run. A peer may fail as
 * it likes.
 *
 * @throws BrokenRunError about the first failure that should not be.
 */
export function checkFailures(variant: Variant, results: readonly Outcome[]): void {
  if (variant === 'peer') return;
  const wrong = results.find(
    ({ status, failure }) =>
      status !== 200 && status !== 503 && !(status === 0 && failure === 'patience'),
  );
  if (wrong !== undefined) throw broken(variant, 'a pod', wrong);
}

/**
 * Where nothing stands in the way, every client of ours has to be given credentials.
 *
 * @param who - Named in the error: `a known pod, 12 s after EKS Auth went away`.
 * @throws BrokenRunError about the first that was not.
 */
export function expectCredentials(
  variant: Variant,
  who: string,
  results: readonly Outcome[],
): void {
  if (variant === 'peer') return;
  const failed = results.find(({ status }) => status !== 200);
  if (failed !== undefined) throw broken(variant, who, failed);
}

function broken(variant: Variant, who: string, { status, failure, body }: Outcome): BrokenRunError {
  return new BrokenRunError(`${variant}: ${who} was answered ${status}: ${failure ?? body}`);
}
