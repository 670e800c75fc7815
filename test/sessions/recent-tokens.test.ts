import t from 'tap';
import { RecentTokens } from '../../src/sessions/recent-tokens.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { HOUR, liveToken } from '../support/sessions-harness.ts';

const clock = new ManualClock();
const token = (pod: string, hours: number, name = `${pod} ${hours}`) =>
  liveToken(clock, 'cart', pod, { token: name, expiresIn: hours * HOUR });
const names = (tokens: RecentTokens, now = clock.now()) =>
  tokens.live(now).map((live) => live.token);

t.test('one token a pod: the one that lives longer, whichever came last', async (t) => {
  const tokens = new RecentTokens();
  tokens.add(token('a', 5));
  tokens.add(token('a', 24));
  t.same(names(tokens), ['a 24'], 'the new one takes the place of the old one');
  tokens.add(token('a', 5));
  t.same(names(tokens), ['a 24'], 'a process that still presents the old one changes nothing');
  tokens.add(token('a', 24));
  t.equal(tokens.size, 1);
  tokens.remove('a 24');
  tokens.add(token('a', 5));
  t.same(names(tokens), ['a 5'], 'unless the new one is spent');
});

t.test('a few pods, those with the longest life', async (t) => {
  const tokens = new RecentTokens();
  for (const hours of [3, 7, 1, 9, 5, 8]) tokens.add(token(`pod-${hours}`, hours));
  t.same(names(tokens), ['pod-9 9', 'pod-8 8', 'pod-7 7', 'pod-5 5']);
  t.same(names(tokens, clock.now() + 7 * HOUR), ['pod-9 9', 'pod-8 8'], 'while they live');
  t.equal(tokens.size, 2);
});
