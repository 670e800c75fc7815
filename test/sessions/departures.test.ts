import t from 'tap';
import { NodePods } from '../../src/kubernetes/node-pods.ts';
import { Departures } from '../../src/sessions/departures.ts';
import { podFacts } from '../kubernetes/pods.ts';
import { HOUR, SessionsHarness } from '../support/sessions-harness.ts';

function setUp() {
  const harness = new SessionsHarness();
  harness.auto = (call) => call.grant();
  const { clock, sessions } = harness;
  const departures = new Departures({ clock, sessions });
  const pods: NodePods = new NodePods({ onLeft: (pod) => departures.left(pod, pods) });
  const arrive = async (name: string) => {
    pods.put(podFacts(name));
    const live = harness.pod('cart', name);
    const opened = harness.open(live);
    if (opened.kind === 'fetch') await opened.fetch.settled;
    return live;
  };
  return { ...harness, harness, clock, sessions, pods, departures, arrive };
}

t.test('the session goes with the last pod of its service account', async (t) => {
  const { clock, sessions, pods, arrive } = setUp();
  await arrive('a');
  await arrive('b');
  pods.remove('uid-of-a');
  await clock.advance(HOUR);
  t.equal(sessions.size, 1, 'one is left');
  pods.put(podFacts('b', { finished: true }));
  await clock.advance(9_000);
  t.equal(sessions.size, 1, 'the next of a row of jobs may come');
  await clock.advance(1_000);
  t.equal(sessions.size, 0);
});

t.test('the next pod of a row takes the session over', async (t) => {
  const { clock, sessions, pods, arrive, harness } = setUp();
  await arrive('a');
  pods.remove('uid-of-a');
  await clock.advance(5_000);
  await arrive('b');
  await clock.advance(HOUR);
  t.equal(sessions.size, 1);
  t.equal(harness.calls.length, 1);
});

t.test('nothing is renewed with the token of a pod that has left', async (t) => {
  const { clock, pods, arrive, harness } = setUp();
  const a = await arrive('a');
  const b = await arrive('b');
  t.equal(harness.open(b).kind, 'credentials');
  pods.remove('uid-of-a');
  await clock.advance(3 * HOUR);
  t.strictSame(
    harness.calls.map(({ token }) => token),
    [a.token, b.token],
  );
});

t.test(
  "other service accounts' sessions stay, and those of other scopes are their pods'",
  async (t) => {
    const { clock, sessions, pods, harness, arrive } = setUp();
    await arrive('a');
    const own = (pod: string) => `pod:shop/cart/uid/uid-of-${pod}`;
    for (const name of ['b', 'c']) {
      pods.put(podFacts(name));
      const opened = sessions.open(own(name), 'pod', harness.pod('cart', name), 'foreground');
      if (opened.kind === 'fetch') await opened.fetch.settled;
    }
    const till = harness.pod('till', 'd');
    await harness.fetch(till);
    const token = sessions.open('token:x', 'token', harness.pod('cart', 'b'), 'foreground');
    if (token.kind === 'fetch') await token.fetch.settled;
    t.equal(sessions.size, 5);
    pods.remove('uid-of-b');
    await clock.advance(10_000);
    t.equal(sessions.find(own('b')), undefined);
    t.equal(sessions.find('token:x'), undefined);
    t.ok(sessions.find(own('c')));
    t.equal(sessions.size, 3);
  },
);

t.test('stopped, it lets go of nothing more', async (t) => {
  const { clock, sessions, pods, departures, arrive } = setUp();
  await arrive('a');
  pods.remove('uid-of-a');
  departures.stop();
  await clock.advance(60_000);
  t.equal(sessions.size, 1);
});
