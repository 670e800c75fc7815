import t from 'tap';
import {
  type LoadedCredentials,
  NodeCredentialsKeeper,
} from '../../src/eks-auth/node-credentials.ts';
import { EksAuthCaller } from '../../src/workers/eks-auth-caller.ts';
import { SessionsHarness } from '../support/sessions-harness.ts';

// Sessions that are fetched while the node's credentials are being rotated.

/** How long a client waits, `--client-wait`. */
const CLIENT_WAIT = 1_900;
const SESSIONS = 100;

/** Sessions over an EKS Auth that accepts one access key, on a node whose file has another. */
async function rotation() {
  const state = { accepted: 'first', file: 'first', loads: [] as number[] };
  let signedWith: string | undefined;
  const h = new SessionsHarness({
    random: () => 0.5,
    through: (token, call) =>
      new EksAuthCaller({
        workers: {
          assumeRole: ({ credentials }) => {
            signedWith = credentials.accessKeyId;
            return call(token);
          },
        },
        credentials: keeper,
        region: () => Promise.resolve('us-east-1'),
        onServiceTime: () => undefined,
      }).assumeRole(token),
  });
  const keeper: NodeCredentialsKeeper = new NodeCredentialsKeeper({
    clock: h.clock,
    load: async (): Promise<LoadedCredentials> => {
      state.loads.push(h.clock.elapsed());
      return { accessKeyId: state.file, secretAccessKey: 'example', remote: false };
    },
    onReplaced: () => h.queue.credentialsReplaced(),
  });
  h.auto = (call) => {
    const accepted = signedWith === state.accepted;
    h.clock.setTimeout(
      () =>
        accepted
          ? call.grant()
          : call.fail({ kind: 'node-credentials', code: 'ExpiredTokenException', status: 403 }),
      50,
    );
  };
  await keeper.get();
  const fetched: number[] = [];
  const fetchAll = () => {
    for (let index = 0; index < SESSIONS; index += 1) {
      void h.fetch(h.pod(`app-${index}`, `app-${index}-1`)).then(({ ok }) => {
        if (ok) fetched.push(h.clock.elapsed());
      });
    }
  };
  return { h, state, fetchAll, fetched };
}

// The last load was less than a second ago, or long ago; the writer is early, or late.
for (const [idle, late] of [
  [0, 0],
  [0, 100],
  [300, 0],
  [300, 600],
  [990, 0],
  [990, 500],
  [60_000, 0],
  [60_000, 900],
] as const) {
  t.test(`${idle} ms after a load, in a file that is written after ${late} ms`, async (t) => {
    const { h, state, fetchAll, fetched } = await rotation();
    await h.clock.advance(idle);
    const began = h.clock.elapsed();
    state.accepted = 'second';
    fetchAll();
    await h.clock.advance(late);
    state.file = 'second';
    await h.clock.advance(CLIENT_WAIT - late);
    t.equal(fetched.length, SESSIONS, 'all are served while their clients wait');
    const gaps = state.loads.map((at, index) => at - (state.loads[index - 1] ?? -1_000));
    t.ok(Math.min(...gaps) >= 1_000, `the file is read at ${state.loads}`);
    const refused = h.calls.length - SESSIONS;
    t.ok(refused <= SESSIONS + 4, `${refused} calls are refused`);
    const replaced = Math.max(...state.loads);
    const slowest = Math.max(...fetched) - replaced;
    t.ok(slowest < 500, `served ${slowest} ms after others are there, ${replaced - began} ms on`);
    await h.clock.advance(60_000);
    t.equal(state.loads.at(-1), replaced, 'and the file is left alone');
  });
}

t.test('credentials that are never replaced are not looked for without end', async (t) => {
  const { h, state, fetchAll, fetched } = await rotation();
  state.accepted = 'second';
  fetchAll();
  await h.clock.advance(120_000);
  t.equal(fetched.length, 0);
  t.ok(state.loads.length <= 34, `${state.loads.length} loads while fetches go on, and 2 s more`);
  t.ok(h.calls.length <= SESSIONS + 20, `${h.calls.length} calls`);
});
