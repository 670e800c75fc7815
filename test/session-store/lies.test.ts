import type { Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import { ManualClock } from '../support/manual-clock.ts';
import { keyFile } from '../support/redis-server.ts';
import { until } from '../support/until.ts';
import { startLyingRedis } from './lying-redis.ts';
import { startStore, written } from './stores.ts';

// A Redis that has been taken over says whatever it likes. Sessions are fetched without it, nothing
// is thrown where nobody catches it (which would end this process), and memory stays what it was.

const MEBIBYTE = 1_024 * 1_024;
const text = (value: string) => `$${value.length}\r\n${value}\r\n`;

/** Answers to whatever is asked. */
const LIES: Readonly<Record<string, string>> = {
  null: '$-1\r\n',
  'a null list': '*-1\r\n',
  'an empty list': '*0\r\n',
  'a list of null': '*1\r\n$-1\r\n',
  'a list of numbers': '*3\r\n:1\r\n:2\r\n:3\r\n',
  'lists in lists': '*1\r\n*1\r\n*1\r\n*0\r\n',
  'far too many lists in lists': '*1\r\n'.repeat(10_000),
  'a number': ':7\r\n',
  'a negative number': ':-7\r\n',
  'a huge number': ':9223372036854775807\r\n',
  nothing: '$0\r\n\r\n',
  OK: '+OK\r\n',
  rubbish: '+rubbish\r\n',
  'a lease of NaN': `*2\r\n${text('lease')}${text('NaN')}`,
  'a lease of the days to come': `*2\r\n${text('lease')}${text('9000000000000000')}`,
  'a lease that never ends': `*2\r\n${text('held')}:-1\r\n`,
  'an entry of nulls': `*6\r\n${text('entry')}${'$-1\r\n'.repeat(5)}`,
  'an error without a code': '-whatever you say\r\n',
  'an empty error': '-\r\n',
  'a redirection to nowhere': '-MOVED\r\n',
  'a redirection without a node': '-MOVED 1 \r\n',
  'two answers': '+OK\r\n$-1\r\n',
  'a hundred answers': '$-1\r\n'.repeat(100),
  'a message without a text': `*2\r\n${text('message')}${text('channel')}`,
  'a message of nulls': `*3\r\n${text('message')}$-1\r\n$-1\r\n`,
  'a message of a pattern': `*2\r\n${text('pmessage')}${text('x')}`,
  'the end of a subscription': `*3\r\n${text('unsubscribe')}$-1\r\n:0\r\n`,
  'a push of protocol 3': '>1\r\n_\r\n',
  'a map of protocol 3': '%1\r\n+a\r\n+b\r\n',
  'what is not RESP at all': 'HTTP/1.1 400 Bad Request\r\n\r\n',
  'a line that ends otherwise': '+a\rb\r\n',
  'an array of millions, in arrays of millions': '*30000000\r\n'.repeat(1_000),
  'a text of gigabytes': '$2000000000\r\nabc',
};

for (const url of ['redis', 'redis+cluster']) {
  for (const [what, lie] of Object.entries(LIES)) {
    t.test(`${url}: ${what}`, async (t) => {
      const redis = await startLyingRedis(t);
      const node = await startStore(t, {
        url: redis.url.replace('redis', url),
        keyFile: keyFile(t),
        budget: 200,
      });
      if (url === 'redis') await node.closed();
      const commands = ['eval', 'publish', 'set', 'ping', 'info', 'subscribe', 'cluster', 'client'];
      for (const command of commands) redis.lies.set(command, () => lie);
      for (const account of ['a', 'b', 'c', 'd', 'e']) {
        const { role } = await node.fetch(account);
        t.equal(role.subject.serviceAccount, account);
      }
      // Also to those who have asked nothing.
      redis.say(lie);
      await turn();
      await node.fetch('f');
      // Connections that are made anew are lied to from the start.
      const { connections } = redis;
      redis.hangUp();
      await until(() => redis.connections > connections, 'it has connected again');
      await node.fetch('g');
      t.equal(node.held.size, 7);
      t.notOk((await node.store.flush({})) && node.store.state.circuit !== 'closed');
    });
  }
}

for (const [what, lie] of Object.entries(LIES)) {
  t.test(`a sentinel: ${what}`, async (t) => {
    const redis = await startLyingRedis(t);
    const sentinel = await startLyingRedis(t);
    const address = (port: string) => `*2\r\n${text('127.0.0.1')}${text(port)}`;
    const honest = () => address(new URL(redis.url).port);
    sentinel.lies.set('sentinel', (_socket, [what]) =>
      what === 'sentinels' ? '*0\r\n' : honest(),
    );
    const url = `${sentinel.url.replace('redis', 'redis+sentinel')}/main`;
    const node = await startStore(t, { url, keyFile: keyFile(t), budget: 200 });
    await node.closed();
    sentinel.lies.set('sentinel', () => lie);
    sentinel.say(lie);
    redis.hangUp();
    await node.fetch('a');
    const { connections } = sentinel;
    await until(() => sentinel.connections > connections, 'it is asked again');
    sentinel.say(lie);
    sentinel.lies.set('sentinel', (_socket, [what]) =>
      what === 'sentinels' ? '*0\r\n' : honest(),
    );
    await node.closed();
    await node.fetch('b');
    t.equal(node.held.size, 2);
  });
}

t.test('whoever sends without end is not read without end', async (t) => {
  const redis = await startLyingRedis(t);
  const node = await startStore(t, { url: redis.url, keyFile: keyFile(t), budget: 200 });
  await node.closed();
  const before = process.memoryUsage.rss();
  let written = 0;
  let ended = 0;
  const chunk = Buffer.alloc(MEBIBYTE, 'A');
  const many = `$1000\r\n${'A'.repeat(1_000)}\r\n`.repeat(1_000);
  const forms: Readonly<Record<string, (of: Socket) => void>> = {
    'a text that says so': (of) => of.write(`$${600 * MEBIBYTE}\r\n`),
    'a line': (of) => of.write('+'),
    'an element after the other': (of) => of.write('*60000\r\n'),
  };
  for (const [what, begin] of Object.entries(forms)) {
    const lie = (socket: Socket) => {
      begin(socket);
      const more = () => {
        while (socket.writable && written < 600 * MEBIBYTE) {
          written += MEBIBYTE;
          const body = what.includes('element') ? many : chunk;
          if (!socket.write(body)) return;
        }
      };
      socket.on('drain', more).on('close', () => {
        ended += 1;
      });
      more();
      return undefined;
    };
    const endedBefore = ended;
    redis.lies.set('eval', lie);
    let asked = 0;
    await until(async () => {
      asked += 1;
      await node.fetch(`${what} ${asked}`);
      return ended > endedBefore;
    }, 'the connection is given up');
  }
  t.ok(written < 60 * MEBIBYTE, `${written / MEBIBYTE} MiB were taken from it`);
  const grown = (process.memoryUsage.rss() - before) / MEBIBYTE;
  t.ok(grown < 200, `memory grew by ${Math.round(grown)} MiB`);
});

t.test('whoever denies whatever is kept has it fetched anew once in a while', async (t) => {
  const redis = await startLyingRedis(t);
  redis.lies.set('eval', (_socket, [script = '']) =>
    script.includes("return 'kept'") ? text('denied') : '*1\r\n$4\r\nnone\r\n',
  );
  const clock = new ManualClock(Date.now());
  const node = await startStore(t, { url: redis.url, keyFile: keyFile(t), clock });
  await node.closed();
  for (let times = 0; times < 5; times += 1) {
    await node.fetch('cart');
    await written(node);
  }
  t.equal(node.renewed.length, 1);
  await clock.advance(30_000);
  await node.closed();
  await node.fetch('cart');
  await written(node);
  t.equal(node.renewed.length, 2);
});

t.test("another session's entry is no answer, however genuine", async (t) => {
  const redis = await startLyingRedis(t);
  const key = keyFile(t);
  const node = await startStore(t, { url: redis.url, keyFile: key });
  const kept: string[][] = [];
  redis.lies.set('eval', (_socket, [script = '', count = '0', ...rest]) => {
    const args = rest.slice(Number(count));
    if (script.includes("return 'kept'")) {
      kept.push([rest[0] as string, ...args.slice(0, 4)]);
      return text('kept');
    }
    const [of] = kept;
    if (of !== undefined && script.includes("'held'")) {
      const fields = [...of];
      return `*6\r\n${text('entry')}${fields.map(text).join('')}`;
    }
    return '*1\r\n$4\r\nnone\r\n';
  });
  await node.closed();
  await node.fetch('cart');
  await until(() => kept.length > 0, 'it has an entry');
  node.held.clear();
  const { role } = await node.fetch('till');
  t.equal(role.subject.serviceAccount, 'till', "it is not served another's credentials");
  const other = await startStore(t, { url: redis.url, keyFile: key, nodeName: 'node-2' });
  await other.closed();
  const again = await other.fetch('cart');
  t.equal(String(again.fetchedAt), kept[0]?.[2], 'while its own is');
});
