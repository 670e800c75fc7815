import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { startBroker } from '../../bench/harness/broker.ts';
import { startCluster } from '../../bench/harness/cluster.ts';
import { inParallel } from '../../bench/harness/pods.ts';
import { residentKiB } from '../../bench/harness/process-stats.ts';
import { runClients } from '../../bench/load/clients.ts';
import { podAddress } from '../../bench/load/one-try.ts';
import { ApiServer } from '../support/api-server.ts';
import { buildProgram } from '../support/build-program.ts';
import { applyManifest } from '../support/manifests.ts';
import { needsApiServer, needsNamespaces } from '../support/needs.ts';
import { until } from '../support/until.ts';

// What a broker takes on a full node whose pods it watches: the density run of the benchmarks,
// but with pods, tokens and keys of a real API server. The program is the built one, with the
// flags that the image starts it with.

const PODS = 250;
const PROCESSES = 2;
const SERVICE_ACCOUNTS = 10;
const MOST_MIB = 128;
/** Where a heap stands when its load ends depends on when it was last tidied up. */
const ROUNDS = 3;
/** What a pod is to the API server besides what is made here: 8 KiB are usual. */
const ANNOTATIONS = { 'example.com/fill': 'x'.repeat(6 * 1024) };

/** Puts the service account's token and CA (the folder `$0`) where a pod has them. */
const IN_POD = `
  mount -t tmpfs none /run
  mkdir -p /run/secrets/kubernetes.io
  cp -r "$0" /run/secrets/kubernetes.io/serviceaccount
  exec "$@"`;

const skip = needsNamespaces() || needsApiServer();

t.test(`within ${MOST_MIB} MiB with the watch on`, { skip, timeout: 600_000 }, async (t) => {
  const folder = t.testdir({ pod: {} });
  const program = buildProgram(folder);
  const api = await ApiServer.start({ t });
  await applyManifest(api, 'watch-pods-rbac');
  const { keys } = await api.done('/openid/v1/jwks');
  const cluster = await startCluster({
    seed: 1,
    issuer: api.issuer,
    issuerKeys: keys,
    latency: { median: 80, sigma: 0.35 },
  });
  t.teardown(() => cluster[Symbol.asyncDispose]());
  const { simulator } = cluster;
  const accountOf = (index: number) => `account-${index % SERVICE_ACCOUNTS}`;
  await inParallel(SERVICE_ACCOUNTS, (index) =>
    simulator.associations.create({
      namespace: 'shop',
      serviceAccount: accountOf(index),
      roleArn: `arn:aws:iam::${simulator.account}:role/${accountOf(index)}`,
    }),
  );
  const pods = await inParallel(PODS, (index) =>
    api.pod({
      serviceAccount: accountOf(index),
      addresses: [podAddress(index)],
      annotations: ANNOTATIONS,
    }),
  );
  const own = await api.pod({
    namespace: 'kube-system',
    serviceAccount: 'pod-identity-broker',
    hostNetwork: true,
  });
  writeFileSync(join(folder, 'pod/token'), await own.token(null));
  writeFileSync(join(folder, 'pod/ca.crt'), api.ca);
  const tokens = () => Promise.all(pods.map((pod) => pod.token()));
  const [first, rotated] = [await tokens(), await tokens()];

  const resident: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    await using broker = await startBroker({ program, tracing: undefined }, simulator, {
      through: ['unshare', '--mount', 'sh', '-ec', IN_POD, join(folder, 'pod')],
      flags: ['--watch-pods=audit'],
      env: {
        NODE_NAME: 'node-1',
        KUBERNETES_SERVICE_HOST: '127.0.0.1',
        KUBERNETES_SERVICE_PORT: String(api.port),
      },
    });
    await until(
      async () => (await broker.metrics()).get('pod_identity_broker_watched_pods') === PODS + 1,
      () => `the pods are not known:\n${broker.process.output()}`,
    );
    for (const wave of [first, rotated]) {
      const results = await runClients(
        broker.address,
        Array.from({ length: PODS * PROCESSES }, (_, index) => ({
          token: wave[index % PODS] ?? '',
          from: podAddress(index % PODS),
          startAt: 0,
          patience: 30_000,
          tries: 10,
          pause: 1_000,
        })),
      );
      t.strictSame([...new Set(results.map(({ status }) => status))], [200]);
    }
    resident.push(residentKiB(broker.pid) / 1024);
    const metrics = [...(await broker.metrics())];
    const sum = (name: string) =>
      metrics.reduce((total, [key, value]) => total + (key.startsWith(name) ? value : 0), 0);
    t.equal(sum('pod_identity_broker_pod_findings_total'), 0, 'all asked as they should');
    t.equal(sum('pod_identity_broker_eks_auth_calls_total'), SERVICE_ACCOUNTS, 'and shared');
  }
  const told = resident.map((mib) => mib.toFixed(0)).join(', ');
  t.comment(`resident: ${told} MiB`);
  const median = resident.toSorted((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? Number.NaN;
  t.ok(median <= MOST_MIB, `resident: ${told} MiB`);
});
