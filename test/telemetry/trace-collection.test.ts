import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { type BrokerProcess, runProgram, startBroker } from '../support/broker-process.ts';
import { startTracedBroker } from '../support/traced-broker.ts';
import { until } from '../support/until.ts';

// How traces leave the broker, by OpenTelemetry's standard variables.

t.test('as JSON and as protobuf, packed or not', async (t) => {
  for (const [protocol, compression] of [
    ['http/json', 'gzip'],
    ['http/protobuf', 'none'],
  ] as const) {
    const { broker, token, spans } = await startTracedBroker(t, {
      env: {
        OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
        OTEL_EXPORTER_OTLP_COMPRESSION: compression,
        OTEL_SERVICE_NAME: 'renamed',
      },
    });
    await broker.get(token('cart'));
    const { requests, calls } = await spans();
    t.match(requests, [{ service: 'renamed', kind: 'server' }], `${protocol}, ${compression}`);
    t.equal(calls[0]?.attributes.get('rpc.method'), 'EKSAuth/AssumeRoleForPodIdentity');
    t.equal(requests[0]?.attributes.get('server.port'), broker.port);
  }
});

t.test('what is pending is sent on SIGTERM', async (t) => {
  const { broker, token, spans } = await startTracedBroker(t, {
    env: { OTEL_BSP_SCHEDULE_DELAY: '600000' },
  });
  await broker.get(token('cart'));
  t.equal((await spans()).requests.length, 1);
});

t.test('by default, one request of a hundred', async (t) => {
  const { broker, token, spans } = await startTracedBroker(t, { env: { OTEL_TRACES_SAMPLER: '' } });
  const jwt = token('cart');
  for (let request = 0; request < 1_000; request += 1) await broker.get(jwt);
  const { requests } = await spans();
  t.ok(requests.length < 40, `${requests.length} of 1000`);
});

t.test('a collector that hangs or is away holds nothing up', async (t) => {
  for (const kind of ['hangs', 'is away'] as const) {
    const collector = await startBadCollector(t, kind);
    const { broker, token } = await startTracedBroker(t, {
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_BSP_MAX_QUEUE_SIZE: '100' },
    });
    const jwt = token('cart');
    await broker.get(jwt);
    const times: number[] = [];
    await until(() => collector.connections() > 0, 'an export');
    for (let request = 0; request < 300; request += 1) {
      const started = performance.now();
      if ((await broker.get(jwt)).status !== 200) t.fail('not answered');
      times.push(performance.now() - started);
    }
    const median = times.toSorted((left, right) => left - right)[150] as number;
    t.ok(median < 50, `median of ${median.toFixed(1)} ms`);
    const started = performance.now();
    t.equal(await broker.stop(), 0);
    const took = performance.now() - started;
    t.ok(took < 8_000, `stopped within ${took.toFixed(0)} ms`);
  }
});

/** A collector that accepts connections, and says nothing or closes them at once. */
async function startBadCollector(t: Test, kind: 'hangs' | 'is away') {
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    if (kind === 'is away') socket.destroy();
    else sockets.add(socket.on('error', () => undefined));
  });
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, connections: () => connections };
}

t.test('the SDK is loaded where it is asked for, and only there', async (t) => {
  const off: [string, Record<string, string>][] = [
    ['nothing is said', {}],
    ['OTEL_TRACES_EXPORTER=none', { OTEL_TRACES_EXPORTER: 'none', ...endpoint() }],
    ['OTEL_SDK_DISABLED', { OTEL_SDK_DISABLED: 'true', ...endpoint() }],
  ];
  for (const [label, env] of off) t.strictSame(await loaded(t, env), [], label);
  const sdk = await loaded(t, endpoint());
  t.ok(sdk.some((name) => name.startsWith('@opentelemetry/sdk-trace')));
});

t.test('variables that cannot be used end the start', async (t) => {
  const wrong: [string, Record<string, string>][] = [
    ['OTEL_EXPORTER_OTLP_ENDPOINT', { OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4318' }],
    ['OTEL_EXPORTER_OTLP_PROTOCOL', { OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc', ...endpoint() }],
    ['OTEL_TRACES_EXPORTER', { OTEL_TRACES_EXPORTER: 'zipkin' }],
    ['OTEL_TRACES_SAMPLER', { OTEL_TRACES_SAMPLER: 'constructor', ...endpoint() }],
    ['OTEL_TRACES_SAMPLER_ARG', { OTEL_TRACES_SAMPLER_ARG: '1.5', ...endpoint() }],
    ['OTEL_BSP_SCHEDULE_DELAY', { OTEL_BSP_SCHEDULE_DELAY: 'soon', ...endpoint() }],
  ];
  for (const [name, env] of wrong) {
    const { code, stdout } = await runProgram(['server', '--cluster-name=x'], { env });
    t.equal(code, 1, name);
    t.match(stdout, new RegExp(`"level":"fatal".*"reason":"${name}\\b`));
  }
});

/** A collector that is not there. */
function endpoint(): Record<string, string> {
  return { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' };
}

/** The modules of OpenTelemetry's SDK that a broker with this environment loads. */
async function loaded(t: Test, env: Record<string, string>): Promise<string[]> {
  const hook = `
    import { registerHooks } from 'node:module';
    import { appendFileSync } from 'node:fs';
    registerHooks({
      load(url, context, next) {
        appendFileSync(process.env.LOADED, url + '\\n');
        return next(url, context);
      },
    });`;
  const folder = t.testdir({ 'hook.mjs': hook, loaded: '' });
  const broker: BrokerProcess = await startBroker({
    t,
    args: ['--cluster-name=x', '--endpoint=http://127.0.0.1:1'],
    env: {
      ...env,
      NODE_OPTIONS: `--import=${folder}/hook.mjs`,
      LOADED: `${folder}/loaded`,
      AWS_ACCESS_KEY_ID: 'AKIAIOSFODNN7EXAMPLE',
      AWS_SECRET_ACCESS_KEY: 'secret',
      AWS_REGION: 'us-east-1',
      AWS_EC2_METADATA_DISABLED: 'true',
    },
  });
  await broker.stop();
  const urls = readFileSync(`${folder}/loaded`, 'utf8').split('\n');
  t.ok(urls.some((url) => url.endsWith('/src/broker/broker.ts')));
  return urls
    .map((url) => /\/node_modules\/(@opentelemetry\/(?!api\/).*)$/.exec(url)?.[1] ?? '')
    .filter(Boolean);
}
