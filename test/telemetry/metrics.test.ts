import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { LatencyHistogram } from '../../src/telemetry/latency-histogram.ts';
import { Metrics } from '../../src/telemetry/metrics/metrics.ts';
import { OUTCOMES } from '../../src/telemetry/metrics/request-metrics.ts';
import { startInProcess } from '../listener/in-process-broker.ts';
import { ask, parseMetrics } from '../support/ask.ts';
import { needsProgram } from '../support/needs.ts';
import { startPrometheus } from '../support/prometheus.ts';
import { until } from '../support/until.ts';

/** A kubeconfig that leads nowhere. */
const NO_API_SERVER = JSON.stringify({
  'current-context': 'a',
  contexts: [{ name: 'a', context: { cluster: 'a', user: 'a' } }],
  clusters: [{ name: 'a', cluster: { server: 'https://127.0.0.1:1' } }],
  users: [{ name: 'a', user: { token: 'a' } }],
});

interface Documented {
  readonly type: string;
  readonly labels: readonly string[];
}

/** The first table of docs/metrics.md. */
function documented(): Map<string, Documented> {
  const text = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8');
  const rows = text.matchAll(/^\| `(\w+)` \| (counter|gauge|histogram) \| (.*?) \|/gm);
  return new Map(
    [...rows].map(([, name, type, labels]) => [
      name as string,
      {
        type: type as string,
        labels: [...(labels ?? '').matchAll(/`(\w+)`/g)].map(([, label]) => label as string),
      },
    ]),
  );
}

/** Asks for credentials in most of the ways that there are. */
async function exercise(broker: Awaited<ReturnType<typeof startInProcess>>): Promise<void> {
  const get = (token: string, path = '/v1/credentials', host = '127.0.0.1') =>
    ask(broker.port, path, 'GET', { Authorization: token, Host: host });
  const first = broker.token();
  await Promise.all([get(first), get(broker.token())]);
  await get(first);
  await get(first);
  await get('no token');
  await get(first, '/elsewhere');
  await get(first, '/v1/credentials', 'evil.example');
  await get(broker.token('nobody'));
}

const scrape = async (metricsPort: number) =>
  (await ask(metricsPort, '/metrics', 'GET', { Connection: 'close' })).text;

t.test('docs/metrics.md and the program name the same metrics', async (t) => {
  const kubeconfig = t.testdir({ kubeconfig: NO_API_SERVER });
  const broker = await startInProcess(t, {
    args: [
      '--metrics-service-accounts',
      '--watch-pods=audit',
      `--kubeconfig=${join(kubeconfig, 'kubeconfig')}`,
    ],
    environment: { NODE_NAME: 'node-1' },
  });
  await exercise(broker);
  const text = await scrape(broker.metricsPort);
  const table = documented();
  const types = new Map(
    [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name, type]) => [name, type]),
  );
  t.strictSame([...types.keys()].toSorted(), [...table.keys()].toSorted());
  for (const [name, { type, labels }] of table) {
    t.equal(types.get(name), type, name);
    const series = [
      ...text.matchAll(new RegExp(`^${name}(?:_bucket|_sum|_count)?\\{(.*)\\} `, 'gm')),
    ];
    for (const [, written = ''] of series) {
      const used = [...written.matchAll(/(\w+)="/g)].map(([, label]) => label as string);
      t.strictSame(used.filter((label) => label !== 'le').toSorted(), labels.toSorted(), name);
    }
  }
  t.notMatch(text, /pod="/, 'no label is a pod');
});

t.test('what requests come to is counted once each', async (t) => {
  const broker = await startInProcess(t);
  await exercise(broker);
  const metrics = parseMetrics(await scrape(broker.metricsPort));
  const outcome = (name: string) =>
    metrics.get(`pod_identity_broker_requests_total{outcome="${name}"}`);
  t.equal(outcome('hit'), 2);
  t.equal((outcome('miss') ?? 0) + (outcome('joined') ?? 0), 2);
  t.equal(outcome('bad-token'), 1);
  t.equal(outcome('invalid'), 2);
  t.equal(outcome('refused'), 1);
  t.equal(metrics.get('pod_identity_cache_state{state="hit"}'), 2);
  t.equal(metrics.get('pod_identity_cache_state{state="miss"}'), 2);
  t.equal(metrics.get('pod_identity_http_response{code="200"}'), 4);
  t.equal(metrics.get('pod_identity_broker_eks_auth_calls_total{result="ok"}'), 1);
  t.equal(metrics.get('pod_identity_broker_eks_auth_calls_saved_total'), 1, 'the other pod');
  t.equal(metrics.get('pod_identity_broker_sessions{scope="service-account"}'), 1);
  t.equal(metrics.get('pod_identity_broker_pods{scope="service-account"}'), 2);
  t.equal(metrics.get('pod_identity_broker_keys_proven'), 1);
  t.equal(metrics.get('pod_identity_broker_addresses_bound'), 1);
  t.ok((metrics.get('pod_identity_broker_soonest_expiry_seconds') ?? 0) > 3_600);
  t.equal(metrics.get('pod_identity_broker_request_duration_seconds_count{outcome="hit"}'), 2);
  t.notOk(
    [...metrics.keys()].some((name) => name.includes('cart')),
    'nobody is named',
  );
});

t.test('what is answered in the place of EKS Auth makes no series without end', async (t) => {
  const metrics = new Metrics();
  t.teardown(() => metrics.stop());
  const renewed = (code: string) =>
    metrics.sessions.renewed({ ok: false, failure: { kind: 'request', code } });
  for (let n = 0; n < 10_000; n += 1) renewed(`Random${n}`);
  renewed('ThrottlingException');
  renewed('Random49');
  const series = [...parseMetrics(await metrics.registry.metrics())].filter(([name]) =>
    name.startsWith('pod_identity_cache_errors{'),
  );
  t.equal(series.length, 52);
  const count = (code: string) => series.find(([name]) => name.includes(`code="${code}"`))?.[1];
  t.equal(count('Other'), 9_950);
  t.equal(count('Random49'), 2);
  t.equal(count('ThrottlingException'), 1, 'a known one is told apart however many came before');
});

t.test('a histogram has each value in the first bucket that holds it', async (t) => {
  const histogram = new LatencyHistogram([1, 10]);
  for (const value of [0.5, 1, 1.5, 10, 11]) histogram.observe(value);
  t.strictSame(histogram.cumulative(), [
    { le: '0.001', count: 2 },
    { le: '0.01', count: 4 },
    { le: '+Inf', count: 5 },
  ]);
  t.equal(histogram.count, 5);
  t.equal(histogram.seconds, 0.024);
});

t.test('counting a hit costs well under a microsecond', async (t) => {
  const metrics = new Metrics();
  t.teardown(() => metrics.stop());
  const times = 1_000_000;
  const run = () => {
    const startedAt = performance.now();
    for (let i = 0; i < times; i += 1) metrics.requests.answered(200, 'hit', 0.03);
    return ((performance.now() - startedAt) * 1_000) / times;
  };
  run();
  const microseconds = Math.min(run(), run(), run());
  t.comment(`${(microseconds * 1_000).toFixed(0)} ns a hit`);
  t.ok(microseconds < 0.5, `${microseconds} µs`);
});

t.test(
  'promtool finds fault with the inherited names and with nothing else',
  { skip: needsProgram('promtool') },
  async (t) => {
    const kubeconfig = t.testdir({ kubeconfig: NO_API_SERVER });
    const broker = await startInProcess(t, {
      args: [
        '--metrics-service-accounts',
        '--watch-pods=audit',
        `--kubeconfig=${join(kubeconfig, 'kubeconfig')}`,
      ],
      environment: { NODE_NAME: 'node-1' },
    });
    await exercise(broker);
    const text = await scrape(broker.metricsPort);
    t.match(text, 'pod_identity_broker_watched_pods', 'with those of watched pods');
    const { stdout, stderr, error } = spawnSync('promtool', ['check', 'metrics'], {
      input: text,
      encoding: 'utf8',
      timeout: 60_000,
    });
    if (error !== undefined) throw error;
    const faults = `${stdout}${stderr}`.split('\n').filter((line) => line !== '');
    t.ok(faults.length > 0, 'it looked');
    for (const fault of faults) {
      t.match(fault, /^pod_identity_(?!broker_)\w+ counter metrics should have "_total" suffix$/);
    }
  },
);

t.test('Prometheus scrapes it', { skip: needsProgram('prometheus') }, async (t) => {
  const broker = await startInProcess(t);
  await exercise(broker);
  const prometheus = await startPrometheus(t, { targets: [broker.metricsPort] });
  const counts = new Map<string, number>();
  await until(async () => {
    const samples = await prometheus.query('pod_identity_broker_requests_total');
    for (const { labels, value } of samples) counts.set(labels.outcome ?? '', value);
    return counts.size > 0;
  }, 'a scrape');
  t.strictSame([...counts.keys()].toSorted(), [...OUTCOMES].toSorted());
  t.equal(counts.get('hit'), 2);
  const targets = await ask(prometheus.port, '/api/v1/targets', 'GET', {});
  t.match(targets.body.data.activeTargets, [{ health: 'up', lastError: '' }]);
});
