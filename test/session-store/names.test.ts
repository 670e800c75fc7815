import { randomBytes } from 'node:crypto';
import t from 'tap';
import { Names } from '../../src/session-store/names.ts';

const KEY = randomBytes(32);

/** Names as a node of the cluster makes them. */
const namesOf = (nodeName: string, sharing: 'node' | 'cluster') =>
  new Names(KEY, { clusterName: 'production', nodeName, sharing });

t.test('which sessions another node finds', async (t) => {
  for (const [sharing, scope, shared] of [
    ['cluster', 'service-account', true],
    ['cluster', 'pod', false],
    ['cluster', 'token', false],
    ['node', 'service-account', false],
    ['node', 'pod', false],
    ['node', 'token', false],
  ] as const) {
    const what = `${scope} scope, shared by the ${sharing}`;
    const session = { key: `${scope}:a-session`, scope };
    const [one, again, other] = [
      namesOf('node-1', sharing),
      namesOf('node-1', sharing),
      namesOf('node-2', sharing),
    ];
    t.equal(one.isShared(session), shared, what);
    t.equal(one.entry(session), again.entry(session), `${what}: the node finds it again`);
    t.equal(one.entry(session) === other.entry(session), shared, `${what}: the entry`);
    t.equal(one.lease(session) === other.lease(session), shared, `${what}: the lease`);
  }
});
