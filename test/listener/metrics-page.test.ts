import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { MetricsPage } from '../../src/listener/metrics-page.ts';
import { ask } from '../support/ask.ts';
import { capturedLog } from '../support/captured-log.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { until } from '../support/until.ts';

/** A page of metrics over HTTP, of a registry that the test answers for. */
async function setUp(t: Test) {
  const clock = new ManualClock();
  const { log, lines } = capturedLog();
  const renderings: PromiseWithResolvers<string>[] = [];
  let asked = 0;
  const page = new MetricsPage(
    clock,
    {
      contentType: 'text/plain; version=0.0.4; charset=utf-8',
      metrics: () => {
        const rendering = Promise.withResolvers<string>();
        renderings.push(rendering);
        return rendering.promise;
      },
    },
    log,
  );
  const server = createServer((_request, response) => {
    asked += 1;
    page.answer(response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  /** Asks `count` times; resolves when all of them have been heard. */
  const get = async (count: number) => {
    const before = asked;
    const answers = Array.from({ length: count }, () =>
      ask(port, '/', 'GET', { Connection: 'close' }),
    );
    await until(() => asked === before + count, 'all have asked');
    return { answers: Promise.all(answers) };
  };
  return { clock, lines, renderings, get };
}

t.test('who asks while there is a rendering shares the next one', async (t) => {
  const { clock, renderings, get } = await setUp(t);
  const { answers: first } = await get(1);
  t.equal(renderings.length, 1);
  const { answers: others } = await get(40);
  t.equal(renderings.length, 1, 'one at a time');
  renderings[0]?.resolve('the first');
  t.match(await first, [{ status: 200, text: 'the first' }]);
  t.equal(clock.next, 100, 'and ten a second');
  await clock.advance(99);
  t.equal(renderings.length, 1);
  await clock.advance(1);
  t.equal(renderings.length, 2);
  renderings[1]?.resolve('the second');
  t.strictSame(new Set((await others).map(({ text }) => text)), new Set(['the second']));
  await clock.advance(10_000);
  t.equal(renderings.length, 2, 'and none for nobody');
});

t.test('a scrape now and then does not wait', async (t) => {
  const { clock, renderings, get } = await setUp(t);
  for (let scrape = 0; scrape < 3; scrape += 1) {
    const { answers } = await get(1);
    renderings[scrape]?.resolve(`${scrape}`);
    t.match(await answers, [
      { text: `${scrape}`, headers: { 'content-type': /^text\/plain; version=0\.0\.4/ } },
    ]);
    await clock.advance(15_000);
  }
});

t.test('metrics that cannot be read: 500, and the next may be', async (t) => {
  const { clock, lines, renderings, get } = await setUp(t);
  const { answers } = await get(2);
  renderings[0]?.reject(new Error('a gauge that throws'));
  const failed = await Promise.race([answers, until(() => lines.length > 0, 'logged')]);
  t.equal(failed, undefined);
  t.match(lines, [{ level: 'error', msg: 'metrics cannot be read' }]);
  await clock.advance(100);
  renderings[1]?.resolve('well');
  t.strictSame((await answers).map(({ status }) => status).toSorted(), [200, 500]);
});
