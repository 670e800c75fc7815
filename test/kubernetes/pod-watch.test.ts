import type { ServerResponse } from 'node:http';
import t, { type Test } from 'tap';
import { systemClock } from '../../src/clock.ts';
import { NodePods } from '../../src/kubernetes/node-pods.ts';
import { PodWatch } from '../../src/kubernetes/pod-watch.ts';
import { RepeatedFaults } from '../../src/telemetry/repeated-faults.ts';
import { capturedLog } from '../support/captured-log.ts';
import { until } from '../support/until.ts';
import { startFakeApiServer } from './fake-api-server.ts';
import { podObject } from './pods.ts';

/** What the server sends, list by list and watch by watch; the last of each is repeated. */
interface Script {
  readonly lists: ((response: ServerResponse) => void)[];
  readonly watches: ((response: ServerResponse) => void)[];
}

const list = (version: string, ...items: object[]) =>
  JSON.stringify({ kind: 'PodList', metadata: { resourceVersion: version }, items });
const event = (type: string, object: object) => `${JSON.stringify({ type, object })}\n`;
const ended = (text: string) => (response: ServerResponse) => void response.end(text);
const held = (text: string) => (response: ServerResponse) => void response.write(text);

async function watching(t: Test, script: Script) {
  const turns = { lists: 0, watches: 0 };
  const server = await startFakeApiServer(t, (url, response) => {
    const kind = url.searchParams.has('watch') ? 'watches' : 'lists';
    const steps = script[kind];
    steps[Math.min(turns[kind], steps.length - 1)]?.(response);
    turns[kind] += 1;
  });
  const { log, lines } = capturedLog();
  const faults = new RepeatedFaults(systemClock, log);
  const pods = new NodePods({ onLeft: () => undefined });
  const watch = new PodWatch({
    client: server.client,
    nodeName: 'node-1',
    pods,
    // Pauses of a hundredth: what comes after which is the same.
    clock: {
      ...systemClock,
      setTimeout: (callback, delay) => systemClock.setTimeout(callback, delay / 100),
    },
    faults,
    random: () => 0,
  });
  t.teardown(() => {
    watch.stop();
    faults.stop();
  });
  watch.start();
  const names = () => ['a', 'b', 'c'].filter((name) => pods.find(`uid-of-${name}`) !== undefined);
  const knows = (...wanted: string[]) =>
    until(
      () => names().join() === wanted.join(),
      () => `${names()} of ${server.asked.join('\n')}`,
    );
  return { ...server, watch, pods, names, knows, lines };
}

t.test('a list, and what comes after it', async (t) => {
  const { asked, bearers, knows, watch, pods } = await watching(t, {
    lists: [ended(list('10', podObject('a'), podObject('b'), podObject('c', { node: 'node-2' })))],
    watches: [
      held(
        event('DELETED', podObject('b', { version: '12' })) +
          event('ADDED', podObject('c', { version: '13', status: { podIP: '10.0.0.3' } })),
      ),
    ],
  });
  await watch.settled;
  await knows('a', 'c');
  t.equal(pods.holders('10.0.0.3')[0]?.facts.name, 'c');
  t.equal(watch.connected, true);
  const [first, second] = asked.map((path) => new URL(path, 'http://api'));
  t.equal(first?.pathname, '/api/v1/pods');
  t.strictSame(Object.fromEntries(first?.searchParams ?? []), {
    fieldSelector: 'spec.nodeName=node-1',
    resourceVersion: '0',
  });
  t.strictSame(Object.fromEntries(second?.searchParams ?? []), {
    fieldSelector: 'spec.nodeName=node-1',
    watch: '1',
    allowWatchBookmarks: 'true',
    timeoutSeconds: '300',
    resourceVersion: '10',
  });
  t.strictSame(bearers, ['Bearer token-1', 'Bearer token-2'], 'credentials are read anew');
});

t.test('a watch that ends or is cut is begun anew from where it was', async (t) => {
  const { asked, knows, lines } = await watching(t, {
    lists: [ended(list('10'))],
    watches: [
      ended(event('ADDED', podObject('a', { version: '11' }))),
      (response) => {
        response.write(event('BOOKMARK', { kind: 'Pod', metadata: { resourceVersion: '15' } }));
        response.write('{"type":"ADDED","object":{"kind":"Pod","meta');
        setTimeout(() => response.destroy(), 20);
      },
      held(event('ADDED', podObject('b', { version: '16' }))),
    ],
  });
  await knows('a', 'b');
  t.strictSame(
    asked.map((path) => new URL(path, 'http://api').searchParams.get('resourceVersion')),
    ['0', '10', '11', '15'],
  );
  t.equal(lines.filter(({ level }) => level === 'warn').length, 1, 'the cut is told');
});

for (const [what, watch] of [
  ['410 Gone', (response: ServerResponse) => void response.writeHead(410).end('{}')],
  ['an error 410 in the stream', ended(event('ERROR', { kind: 'Status', code: 410 }))],
  ['a line that is no JSON', ended('{"type":\n')],
  ['an event of something else', ended(event('ADDED', { kind: 'Node', metadata: {} }))],
  ['a line without an end', (response: ServerResponse) => void endless(response)],
] as const) {
  t.test(`listed anew: ${what}`, async (t) => {
    const { asked, knows } = await watching(t, {
      lists: [ended(list('10', podObject('a'))), ended(list('20', podObject('b')))],
      watches: [watch, held('')],
    });
    await knows('b');
    await until(() => asked.length === 4, 'no watch after the list');
    t.match(asked.at(-1), /resourceVersion=20/);
  });
}

for (const [what, first] of [
  ['403', (response: ServerResponse) => void response.writeHead(403).end('{}')],
  ['garbage', ended('<html>')],
  ['a cut', (response: ServerResponse) => void response.destroy()],
  ['another kind', ended('{"kind":"NodeList","metadata":{"resourceVersion":"1"},"items":[]}')],
  [
    'a list that is cut',
    (response: ServerResponse) => {
      response.write(list('10', podObject('a')).slice(0, -20));
      setTimeout(() => response.destroy(), 20);
    },
  ],
] as const) {
  t.test(`a list that fails is tried again: ${what}`, async (t) => {
    const { watch, knows, lines, names } = await watching(t, {
      lists: [first, first, ended(list('10', podObject('b')))],
      watches: [held('')],
    });
    await watch.settled;
    t.strictSame(names(), [], 'nothing of it is believed');
    await knows('b');
    await until(() => watch.connected, 'not connected');
    t.equal(lines.filter(({ msg }) => /cannot be watched/.test(msg)).length, 2, 'told, summed up');
  });
}

t.test('an item that cannot be read does not cost the others', async (t) => {
  const huge = podObject('a', { spec: { huge: 'x'.repeat(5 * 1024 * 1024) } });
  const { knows } = await watching(t, {
    lists: [ended(list('10', huge, { kind: 'Pod' }, podObject('b')))],
    watches: [held('')],
  });
  await knows('b');
});

t.test('a watch that never says anything is taken for dead', async (t) => {
  const { asked } = await watching(t, {
    lists: [ended(list('10'))],
    watches: [() => undefined, held('')],
  });
  // It takes 10 s for a watch to be given up that does not begin; here, a hundredth.
  await until(() => asked.length >= 3, 'no new watch');
  t.match(asked[2], /watch=1.*resourceVersion=10/);
});

/** Sends 'a' until nobody wants it any more. */
function endless(response: ServerResponse): void {
  const piece = Buffer.alloc(64 * 1024, 'a');
  const more = () => {
    while (!response.destroyed && response.write(piece));
  };
  response.on('drain', more);
  more();
}
