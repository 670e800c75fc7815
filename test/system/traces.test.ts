import { readFileSync } from 'node:fs';
import t from 'tap';
import type { CollectedSpan } from '../../src/traces/span.ts';
import { attributes, NAMESPACE, startTracedBroker } from '../support/traced-broker.ts';
import { until } from '../support/until.ts';

// What the whole program's traces tell, as a collector gets them.

const SAMPLED_TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SAMPLED_SPAN = '00f067aa0ba902b7';
const TRACEPARENT = { traceparent: `00-${SAMPLED_TRACE}-${SAMPLED_SPAN}-01` };

t.test("a request's whole story", async (t) => {
  const { simulator, broker, token, spans } = await startTracedBroker(t);
  const jwt = token('cart');
  simulator.faults.add({ kind: 'throttle', calls: 1 });
  simulator.faults.add({ kind: 'internal-error', calls: 1 });
  let tries = 1;
  while ((await broker.get(jwt)).status !== 200 && tries < 10) tries += 1;
  const collected = await spans();

  const [request] = collected.requests as [CollectedSpan];
  t.equal(request.parentId, undefined);
  t.equal(request.kind, 'server');
  t.equal(request.service, 'pod-identity-broker');
  t.match(attributes(request), {
    'http.request.method': 'GET',
    'http.route': '/v1/credentials',
    'url.path': '/v1/credentials',
    'url.scheme': 'http',
    'network.protocol.version': '1.1',
    'server.port': broker.port,
    'client.address': '127.0.0.1',
    'k8s.namespace.name': NAMESPACE,
    'pod_identity_broker.service_account': 'cart',
    'pod_identity_broker.scope': 'service-account',
    'pod_identity_broker.lookup': 'miss',
    'http.response.status_code': tries === 1 ? 200 : 503,
  });
  const below = collected.below(request);
  t.strictSame(
    below.map(({ name }) => name),
    ['verify token', 'look up session', 'EKSAuth.AssumeRoleForPodIdentity'],
  );
  const [verified, , call] = below as [CollectedSpan, CollectedSpan, CollectedSpan];
  t.strictSame(attributes(verified), { 'pod_identity_broker.verdict': 'verified' });
  t.strictSame(
    collected.below(verified).map(({ name }) => name),
    ['check token on a worker'],
  );
  t.equal(call.kind, 'client');
  t.equal(call.error, undefined);
  const answered = simulator.audit.events({ service: 'eks-auth' });
  t.equal(answered.length, 3);
  t.match(attributes(call), {
    'rpc.system.name': 'aws-api',
    'rpc.method': 'EKSAuth/AssumeRoleForPodIdentity',
    'cloud.region': simulator.region,
    'server.address': '127.0.0.1',
    'server.port': Number(new URL(simulator.url).port),
    'http.response.status_code': 200,
    'aws.request_id': answered[2]?.requestId,
  });
  t.match(
    call.events.map((event) => ({ name: event.name, ...attributes(event) })),
    [
      {
        name: 'attempt',
        'pod_identity_broker.attempt': 1,
        'pod_identity_broker.failure': 'throttled',
        'error.type': 'ThrottlingException',
        'http.response.status_code': 429,
        'aws.request_id': answered[0]?.requestId,
      },
      { name: 'back-off', 'pod_identity_broker.failure': 'ThrottlingException' },
      {
        name: 'attempt',
        'pod_identity_broker.attempt': 2,
        'pod_identity_broker.failure': 'service',
        'error.type': 'InternalServerException',
        'aws.request_id': answered[1]?.requestId,
      },
      { name: 'back-off', 'pod_identity_broker.pause_ms': Number },
      {
        name: 'attempt',
        'pod_identity_broker.attempt': 3,
        'aws.request_id': answered[2]?.requestId,
        'pod_identity_broker.duration_ms': Number,
      },
    ],
  );
  for (const span of collected.all) {
    const parent = collected.all.find(({ spanId }) => spanId === span.parentId);
    if (parent === undefined) continue;
    t.ok(span.startedAt >= parent.startedAt, `${span.name} begins within ${parent.name}`);
  }
});

t.test('who joins a fetch links to it, and a renewal to the fetch before it', async (t) => {
  const { broker, token, spans } = await startTracedBroker(t, {
    simulator: { latency: 300 },
    args: ['--max-credential-retention-before-renewal=2s'],
  });
  const tokens = Array.from({ length: 4 }, () => token('cart'));
  await Promise.all(tokens.map((jwt) => broker.get(jwt)));
  await broker.get(tokens[0]);
  const renewed = () => broker.logs().filter(({ msg }) => msg === 'session renewed').length;
  for (const times of [1, 2]) {
    await until(() => renewed() >= times, `renewal ${times}`);
    // Sessions that somebody has asked for since are renewed again.
    await broker.get(tokens[0]);
  }
  const collected = await spans();
  const byLookup = Map.groupBy(collected.requests, (span) =>
    String(span.attributes.get('pod_identity_broker.lookup')),
  );
  t.equal(byLookup.get('miss')?.length, 1);
  t.equal(byLookup.get('joined')?.length, 3);
  t.equal(byLookup.get('hit')?.length, 3);
  const [first, ...renewals] = collected.calls as CollectedSpan[] as [
    CollectedSpan,
    ...CollectedSpan[],
  ];
  t.equal(first.traceId, byLookup.get('miss')?.[0]?.traceId);
  const linkTo = ({ traceId, spanId }: CollectedSpan) => [{ traceId, spanId }];
  for (const joined of byLookup.get('joined') ?? []) t.strictSame(joined.links, linkTo(first));
  for (const hit of byLookup.get('hit') ?? []) t.strictSame(hit.links, []);
  const roots = collected.named('renew session');
  t.ok(roots.length >= 2, 'was renewed twice');
  let before = first;
  for (const [index, root] of roots.entries()) {
    t.equal(root.parentId, undefined, 'a renewal is a trace of its own');
    t.strictSame(root.links, linkTo(before));
    const renewal = renewals[index] as CollectedSpan;
    t.equal(renewal.parentId, root.spanId);
    t.match(attributes(root), { 'pod_identity_broker.service_account': 'cart' });
    before = renewal;
  }
});

t.test('what is refused', async (t) => {
  const { simulator, broker, token, spans } = await startTracedBroker(t);
  const good = token('cart');
  await broker.get(good);
  const forged = `${good.slice(0, good.lastIndexOf('.') + 1)}${'A'.repeat(86)}`;
  t.equal((await broker.get(forged)).status, 400);
  const roleless = simulator.kubelet.createPod({ namespace: NAMESPACE, serviceAccount: 'none' });
  t.equal((await broker.get(roleless.token)).status, 404);
  t.equal((await broker.get(good, {}, { path: `/${good}` })).status, 404);
  const collected = await spans();
  const [, refused, unknown] = collected.requests as CollectedSpan[];
  t.match(attributes(refused as CollectedSpan), {
    'http.response.status_code': 400,
    'pod_identity_broker.refusal': 'InvalidToken',
    'error.type': undefined,
  });
  t.equal(refused?.error, undefined, "a client's mistake is no error of the server");
  const [verified] = collected.below(refused as CollectedSpan);
  t.equal(verified?.error, '');
  t.match(attributes(verified as CollectedSpan), {
    'pod_identity_broker.verdict': 'refused',
    'pod_identity_broker.reason': String,
  });
  t.match(attributes(unknown as CollectedSpan), {
    'pod_identity_broker.refusal': 'ResourceNotFoundException',
    'http.response.status_code': 404,
    'error.type': undefined,
  });
  const refusedCall = collected.calls.at(-1) as CollectedSpan;
  t.type(refusedCall.error, 'string');
  t.match(attributes(refusedCall), {
    'error.type': 'ResourceNotFoundException',
    'http.response.status_code': 404,
  });
  const [elsewhere] = collected.named('GET');
  t.match(attributes(elsewhere as CollectedSpan), {
    'http.route': undefined,
    'url.path': '/[redacted]',
  });
});

t.test('methods that the conventions know, and others', async (t) => {
  const { broker, token, spans } = await startTracedBroker(t);
  const jwt = token('cart');
  t.equal((await broker.get(jwt, {}, { method: 'POST' })).status, 405);
  t.equal((await broker.get(jwt, {}, { method: 'PROPFIND' })).status, 405);
  const collected = await spans();
  t.match(collected.named('POST /v1/credentials').map(attributes), [
    { 'http.request.method': 'POST', 'http.request.method_original': undefined },
  ]);
  t.match(collected.named('HTTP /v1/credentials').map(attributes), [
    { 'http.request.method': '_OTHER', 'http.request.method_original': 'PROPFIND' },
  ]);
});

t.test('failures of the broker and of EKS Auth are errors', async (t) => {
  const { simulator, broker, token, spans } = await startTracedBroker(t, {
    args: ['--flight-timeout=300ms'],
  });
  simulator.faults.add({ kind: 'reset' });
  t.equal((await broker.get(token('cart'))).status, 503);
  const collected = await spans();
  const [request] = collected.requests as [CollectedSpan];
  t.equal(request.error, '');
  t.match(attributes(request), {
    'http.response.status_code': 503,
    'error.type': String,
    'pod_identity_broker.refusal': undefined,
  });
  const [call] = collected.calls as [CollectedSpan];
  const [attempt] = call.events;
  t.match(attributes(attempt as CollectedSpan['events'][number]), {
    'error.type': String,
    'http.response.status_code': undefined,
  });
});

t.test('a fetch that outlives the broker is told of, too', async (t) => {
  const { simulator, broker, token, spans } = await startTracedBroker(t, {
    args: ['--client-wait=300ms'],
  });
  simulator.faults.add({ kind: 'reset' });
  t.equal((await broker.get(token('cart'))).status, 503);
  // It backs off, and tries again, until --flight-timeout.
  const { calls, requests } = await spans();
  t.match(calls, [{ error: /./, events: [{ name: 'attempt' }, { name: 'back-off' }] }]);
  t.equal(calls[0]?.parentId, requests[0]?.spanId);
});

t.test("a pod's traceparent is linked, and decides nothing", async (t) => {
  const always = await startTracedBroker(t);
  await always.broker.get(always.token('cart'), TRACEPARENT);
  const never = await startTracedBroker(t, {
    env: { OTEL_TRACES_SAMPLER: 'parentbased_traceidratio', OTEL_TRACES_SAMPLER_ARG: '0' },
  });
  t.equal((await never.broker.get(never.token('cart'), TRACEPARENT)).status, 200);
  const [linked] = (await always.spans()).requests as [CollectedSpan];
  t.strictSame(linked.links, [{ traceId: SAMPLED_TRACE, spanId: SAMPLED_SPAN }]);
  t.not(linked.traceId, SAMPLED_TRACE);
  t.strictSame((await never.spans()).all, []);
});

t.test('with --trust-traceparent it is the parent, and decides', async (t) => {
  const { broker, token, spans } = await startTracedBroker(t, {
    args: ['--trust-traceparent'],
    env: { OTEL_TRACES_SAMPLER: 'parentbased_traceidratio', OTEL_TRACES_SAMPLER_ARG: '0' },
  });
  const jwt = token('cart');
  await broker.get(jwt, TRACEPARENT);
  await broker.get(jwt, { traceparent: 'nonsense' });
  await broker.get(jwt);
  const collected = await spans();
  const [request, ...others] = collected.requests as [CollectedSpan];
  t.strictSame(others, []);
  t.match(request, { traceId: SAMPLED_TRACE, parentId: SAMPLED_SPAN, links: [] });
  t.equal(collected.calls[0]?.traceId, SAMPLED_TRACE);
});

t.test('docs/traces.md names all spans, events and attributes', async (t) => {
  const { simulator, broker, token, spans } = await startTracedBroker(t, {
    args: ['--max-credential-retention-before-renewal=1s', '--flight-timeout=2s'],
  });
  const jwt = token('cart');
  simulator.faults.add({ kind: 'throttle', calls: 1 });
  await until(async () => (await broker.get(jwt)).status === 200, 'credentials');
  simulator.faults.add({ kind: 'internal-error', serviceAccount: 'till' });
  t.equal((await broker.get(token('till'))).status, 503);
  await broker.get(`${jwt}x`);
  await broker.get(jwt, {}, { method: 'PROPFIND' });
  // Renewals are of sessions that are asked for.
  const renewed = () => broker.lines.some((line) => /renewed/.test(line));
  await until(async () => (await broker.get(jwt)).status === 200 && renewed(), 'a renewal');
  const { all } = await spans();

  const made = new Set<string>();
  for (const span of all) {
    made.add(span.name);
    for (const name of span.attributes.keys()) made.add(name);
    for (const event of span.events) {
      made.add(event.name);
      for (const name of event.attributes.keys()) made.add(name);
    }
  }
  const documented = new Set(
    [
      ...readFileSync(new URL('../../docs/traces.md', import.meta.url), 'utf8').matchAll(
        /^\| ((?:`[^`]+`(?:, )?)+) \|/gm,
      ),
    ].flatMap(([, names = '']) => [...names.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name)),
  );
  // Of another method, and with Redis.
  for (const name of ['HTTP /v1/credentials']) t.ok(made.delete(name), name);
  t.ok(documented.delete('pod_identity_broker.from_store'));
  t.strictSame([...made].sort(), [...documented].sort());
});

t.test('no span holds a token or a secret', async (t) => {
  const { simulator, broker, token, file, spans } = await startTracedBroker(t, {
    args: ['--max-credential-retention-before-renewal=2s'],
  });
  const secrets = [simulator.nodeCredentials.secretAccessKey];
  const one = token('cart');
  const two = token('search');
  const { body } = await broker.get(one);
  secrets.push(body.SecretAccessKey, body.Token);
  for (const [kind, message] of [
    ['error', `token ${two} is not good, nor is ${body.Token}`],
    ['access-denied', undefined],
    ['garbage', undefined],
    ['node-credentials-expired', undefined],
  ] as const) {
    simulator.faults.add({
      kind,
      calls: 1,
      serviceAccount: 'search',
      ...(message !== undefined && { message, status: 400, code: 'InvalidTokenException' }),
    });
    await broker.get(two);
  }
  for (const bad of [`${one}x`, one.slice(0, -1), 'Bearer x', `eyJhbGciOiJub25lIn0.${one}`]) {
    await broker.get(bad);
  }
  for (const path of [`/${one}`, `/v1/credentials?token=${one}`, `/v1/credentials/${one}`]) {
    await broker.get(one, { traceparent: `00-${one}` }, { path });
  }
  await broker.logged(({ msg }) => msg === 'session renewed');
  await broker.get(one);
  const collected = await spans();
  t.ok(collected.all.length > 15, `${collected.all.length} spans`);
  const text = readFileSync(file, 'utf8');
  t.notMatch(text, /eyJ[\w-]{10}/, 'nothing that looks like a token');
  for (const secret of [...secrets, ...signatures(one, two)]) {
    const found = disguises(secret).filter(([, written]) => text.includes(written));
    t.strictSame(
      found.map(([how]) => how),
      [],
    );
  }
});

function signatures(...tokens: readonly string[]): string[] {
  return tokens.flatMap((token) => token.split('.'));
}

/** A secret as it is, and as it might slip through. */
function disguises(secret: string): [string, string][] {
  const bytes = Buffer.from(secret);
  return [
    ['as it is', secret],
    ['in base64', bytes.toString('base64').replace(/=+$/, '')],
    ['in hex', bytes.toString('hex')],
    ['as a list of bytes', [...bytes].join(',')],
    ['reversed', [...secret].reverse().join('')],
    ['in half', secret.slice(0, Math.floor(secret.length / 2))],
  ];
}
