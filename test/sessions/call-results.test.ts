import t from 'tap';
import type { RoleCredentials } from '../../src/eks-auth/assume-role.ts';
import { CallResults } from '../../src/sessions/call-results.ts';
import type { FetchFailure } from '../../src/sessions/failure.ts';

const GRANTED = {} as RoleCredentials;
const MISMATCH: FetchFailure = { kind: 'mismatch', code: 'UnexpectedAnswer', message: '' };

t.test(
  "wrong answers for one session are its own trouble, for several the service's",
  async (t) => {
    const results = new CallResults();
    const of = (key: string, outcome: RoleCredentials | FetchFailure = MISMATCH) =>
      results.of({ key }, outcome);
    t.equal(of('cart'), 'answered');
    t.equal(of('cart'), 'answered', 'however often');
    t.equal(of('checkout'), 'failed');
    t.equal(of('cart'), 'failed');
    t.equal(of('search', GRANTED), 'answered');
    t.equal(of('checkout'), 'answered', 'until there is a correct one');
    t.equal(of('cart'), 'failed');
  },
);

t.test('what a failure says', async (t) => {
  const results = new CallResults();
  const of = (failure: Partial<FetchFailure>) =>
    results.of({ key: 'cart' }, { kind: 'service', code: '', message: '', ...failure });
  t.equal(of({ kind: 'throttled' }), 'throttled');
  for (const kind of ['service', 'network', 'malformed', 'node-credentials', 'request'] as const) {
    t.equal(of({ kind }), 'failed', kind);
  }
  for (const kind of ['refused', 'token'] as const) t.equal(of({ kind }), 'answered', kind);
  t.equal(of({ kind: 'request', status: 400 }), 'answered');
  t.equal(of({ kind: 'node-credentials', credentialsReplaced: true }), undefined);
});
