import type { LookupFunction } from 'node:net';
import t from 'tap';
import { oneLookupAtATime } from '../../src/session-store/host-lookup.ts';

// The system has few threads for look-ups, and EKS Auth needs them too.

function setUp() {
  const asked: { readonly host: string; answer(address: string): void; fail(): void }[] = [];
  const lookup = oneLookupAtATime(((host, _options, callback) => {
    asked.push({
      host,
      answer: (address) => callback(null, address, 4),
      fail: () => callback(Object.assign(new Error('gone'), { code: 'ENOTFOUND' }), '', 0),
    });
  }) as LookupFunction);
  const answers: string[] = [];
  const find = (host: string, all = false) =>
    lookup(host, { all }, (error, address) => answers.push(error?.code ?? `${host} ${address}`));
  return { asked, answers, find };
}

t.test('however many connections are tried, one look-up is under way', async (t) => {
  const { asked, answers, find } = setUp();
  for (let attempt = 0; attempt < 10; attempt += 1) find('cache');
  t.equal(asked.length, 1);
  asked[0]?.answer('10.0.0.1');
  t.strictSame(answers, Array(10).fill('cache 10.0.0.1'), 'all have its answer');
  find('cache');
  t.equal(asked.length, 2, 'it is not remembered');
});

t.test('another name, or question, waits for its turn', async (t) => {
  const { asked, answers, find } = setUp();
  find('a');
  find('b');
  find('a', true);
  t.strictSame(
    asked.map(({ host }) => host),
    ['a'],
  );
  asked[0]?.answer('10.0.0.1');
  t.equal(asked.length, 2);
  asked[1]?.fail();
  t.equal(asked.length, 3);
  asked[2]?.answer('10.0.0.3');
  t.strictSame(answers, ['a 10.0.0.1', 'ENOTFOUND', 'a 10.0.0.3']);
});

t.test('/etc/hosts is followed, as by every program', async (t) => {
  const addresses = await new Promise((resolve, reject) => {
    oneLookupAtATime()('localhost', { all: true }, (error, found) =>
      error ? reject(error) : resolve(found),
    );
  });
  t.match(addresses, [{ address: /^(127\.|::1$)/ }]);
});
