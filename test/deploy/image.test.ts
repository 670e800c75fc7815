import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { createNode, type NodeNamespace } from '../../src/simulator/netns.ts';
import { ask } from '../support/ask.ts';
import { until } from '../support/until.ts';
import { type Manifest, needsChartTools, ofKind, render } from './chart.ts';
import { imageConfig, imageFiles, needsImage, runContainer } from './image.ts';

const skip = needsImage() || needsChartTools();
const ADDRESS = '169.254.170.23';

t.test('what is in the image, and what is not', { skip }, async (t) => {
  const config = imageConfig();
  t.equal(config.User, '64023:64023');
  t.equal(config.Entrypoint[0], '/usr/local/bin/node', 'the file that has the capability');
  t.equal(config.Healthcheck.Test[0], 'CMD', 'no shell');
  t.match(config.Labels, { 'org.opencontainers.image.version': /^\d+\.\d+\.\d+$/ });
  const files = imageFiles(t);
  for (const shell of ['bin/sh', 'bin/bash', 'usr/bin/sh', 'bin/busybox', 'usr/bin/apt-get']) {
    t.notOk(existsSync(`${files}/${shell}`), shell);
  }
  t.ok(existsSync(`${files}/etc/ssl/certs/ca-certificates.crt`));
  for (const development of ['typescript', 'tap', '@biomejs/biome', 'node']) {
    t.notOk(existsSync(`${files}/app/node_modules/${development}`), development);
  }
  const { stdout } = spawnSync('getcap', [`${files}/usr/local/bin/node`], { encoding: 'utf8' });
  t.match(stdout, /cap_net_bind_service=ep$/m);
  const kibibytes = Number(
    spawnSync('du', ['-sk', files], { encoding: 'utf8' }).stdout.split('\t')[0],
  );
  t.ok(kibibytes < 160 * 1_024, `${kibibytes} KiB`);
});

/** The pods of the chart's variants, by the DaemonSet's suffix. */
function podSpecs(): Readonly<Record<string, Manifest>> {
  const daemonsets = { cloud: { create: true }, hybrid: { create: true } };
  // Hybrid nodes have no metadata service to ask.
  const env = { AWS_REGION: 'eu-west-1' };
  const manifests = ofKind(render({ daemonsets, env }), 'DaemonSet');
  return Object.fromEntries(
    manifests.map(({ metadata, spec }) => [metadata.name, spec.template.spec]),
  );
}

/** A node on which `initialize` has not run, with the folders that pods' volumes are. */
async function bareNode(t: Test) {
  const node = await createNode();
  t.teardown(() => node.close());
  const removed = node.exec('/sbin/ip', ['link', 'delete', 'pod-id-link0']);
  await new Promise((resolve) => removed.once('exit', resolve));
  const folder = t.testdir({ run: {}, aws: { credentials: '[default]\n' } });
  chmodSync(`${folder}/run`, 0o755);
  chmodSync(`${folder}/aws/credentials`, 0o600);
  const volumes = { run: `${folder}/run`, 'aws-credentials': `${folder}/aws` };
  return { node, folder, volumes };
}

/** The status of a path of the node's; that of `/readyz` once it is 200. */
async function status(node: NodeNamespace, port: number, path: string, address?: string) {
  const forwarded = await node.forward(port, address);
  const headers = address === undefined ? {} : { Host: address };
  let last = 0;
  await until(async () => {
    const answer = await ask(forwarded, path, 'GET', headers).catch(() => undefined);
    last = answer?.status ?? 0;
    return last === 200 || path !== '/readyz';
  }, `${path} of port ${port}`);
  return last;
}

t.test('the chart’s pods run, and answer', { skip }, async (t) => {
  const files = imageFiles(t);
  for (const [name, spec] of Object.entries(podSpecs())) {
    await t.test(name, async (t) => {
      const place = await bareNode(t);
      const [init] = spec.initContainers;
      const [server] = spec.containers;
      const initialized = await runContainer({ ...place, files, container: init }).ended;
      t.equal(initialized.code, 0, initialized.stdout + initialized.stderr);
      t.match(initialized.stdout, /"address added".*\n.*"address added"/s);

      for (const allowPrivilegeEscalation of [false, true]) {
        const container = {
          ...server,
          securityContext: { ...server.securityContext, allowPrivilegeEscalation },
        };
        // Traces have packages loaded that nothing else does.
        const env = { AWS_REGION: 'us-east-1', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' };
        const running = runContainer({ ...place, files, container, env });
        const shown = `no_new_privs: ${!allowPrivilegeEscalation}`;
        t.equal(await status(place.node, 2703, '/readyz'), 200, shown);
        t.equal(await status(place.node, 80, '/v1/credentials', ADDRESS), 400);
        const health = { ...server, args: [] };
        const entrypoint = imageConfig().Healthcheck.Test.slice(1);
        const healthy = runContainer({ ...place, files, container: health, entrypoint });
        t.equal((await healthy.ended).code, 0, 'healthy');
        const admin = { ...server, args: ['status'] };
        const asked = await runContainer({ ...place, files, container: admin }).ended;
        t.equal(asked.code, 0, `the operator’s socket ${asked.stderr}`);
        running.stop();
        const { code, stdout } = await running.ended;
        t.equal(code, 0, stdout);
        t.notMatch(stdout, /going on without (an admin socket|it)/);
        const after = runContainer({ ...place, files, container: health, entrypoint });
        t.equal((await after.ended).code, 1, 'and not when it has stopped');
      }
    });
  }
});

t.test('the next version’s pod takes over', { skip }, async (t) => {
  const files = imageFiles(t);
  const place = await bareNode(t);
  const spec = podSpecs()['pod-identity-broker'];
  const [container] = spec.containers;
  const options = { ...place, files, container, env: { AWS_REGION: 'us-east-1' } };
  const initialize = { ...place, files, container: spec.initContainers[0] };
  await runContainer(initialize).ended;
  const first = runContainer(options);
  t.equal(await status(place.node, 2703, '/readyz'), 200);
  t.equal((await runContainer(initialize).ended).code, 0, 'beside the one that runs');
  const second = runContainer(options);
  await second.said('"msg":"ready"');
  t.equal(await status(place.node, 80, '/v1/credentials', ADDRESS), 400, 'with both');
  first.stop();
  t.equal((await first.ended).code, 0);
  t.equal(await status(place.node, 80, '/v1/credentials', ADDRESS), 400, 'with the second');
  t.equal(await status(place.node, 2703, '/readyz'), 200);
  second.stop();
  const { code, stdout } = await second.ended;
  t.equal(code, 0);
  t.match(stdout, /taking over from the broker that runs/);
  t.notMatch(stdout, /port is taken/);
});

t.test('the existing agent’s pod, with this image', { skip }, async (t) => {
  const place = await bareNode(t);
  // A file system of its own for each container, since these may write to it.
  const run = (container: Manifest) => runContainer({ ...place, files: imageFiles(t), container });
  // Its containers as the agent's chart has them. Only the image and the command differ: what the
  // command ended with comes first among the arguments. It has no volume and no token.
  const init = { args: ['initialize', '-v', 'trace'], securityContext: { privileged: true } };
  const server = {
    args: [
      ...['server', '--port', '80', '--cluster-name', 'shop', '--probe-port', '2703'],
      ...['--metrics-port', '2705', '-v', 'trace'],
    ],
    env: [{ name: 'AWS_REGION', value: 'us-east-1' }],
    securityContext: { capabilities: { add: ['CAP_NET_BIND_SERVICE'] } },
  };
  const asUser = await run(init).ended;
  t.equal(asUser.code, 1, 'the user of the image cannot make an interface');
  t.match(asUser.stdout, /cannot be made ready/);
  const asRoot = { ...init, securityContext: { ...init.securityContext, runAsUser: 0 } };
  const initialized = await run(asRoot).ended;
  t.equal(initialized.code, 0, initialized.stdout + initialized.stderr);
  t.match(initialized.stdout, /the node is ready/);

  const rotating = { ...server, args: [...server.args, '--rotate-credentials', 'true'] };
  for (const [what, container] of Object.entries({
    cloud: server,
    hybrid: { ...rotating, securityContext: { ...server.securityContext, runAsUser: 0 } },
  })) {
    const running = run(container);
    await running.said('"msg":"ready"');
    for (const path of ['/healthz', '/readyz']) {
      t.equal(await status(place.node, 2703, path), 200, `${what} ${path}`);
    }
    t.equal(await status(place.node, 2705, '/metrics'), 200, what);
    t.equal(await status(place.node, 80, '/v1/credentials', ADDRESS), 400, what);
    running.stop();
    const { code, stdout } = await running.ended;
    t.equal(code, 0, stdout);
    t.match(stdout, /going on without an admin socket/, 'for which it has no volume');
    t.notMatch(stdout, /two brokers/);
  }
});

t.test('the pod that removes leaves nothing behind, and waits', { skip }, async (t) => {
  const files = imageFiles(t);
  const place = await bareNode(t);
  const [initialize] = podSpecs()['pod-identity-broker'].initContainers;
  t.equal((await runContainer({ ...place, files, container: initialize }).ended).code, 0);
  t.not(readdirSync(place.volumes.run).length, 0);

  const [removing] = ofKind(render({ removeFromNodes: true }), 'DaemonSet');
  const { initContainers, containers } = removing.spec.template.spec;
  const { code, stdout } = await runContainer({ ...place, files, container: initContainers[0] })
    .ended;
  t.equal(code, 0, stdout);
  t.match(stdout, /link removed/);
  t.match(stdout, /tcp_migrate_req switched off/);
  t.strictSame(readdirSync(place.volumes.run), []);
  const [container] = containers;
  const waiting = runContainer({ ...place, files, container, entrypoint: container.command });
  const again = runContainer({ ...place, files, container: initContainers[0] });
  t.equal((await again.ended).code, 0, 'where there is nothing left');
  let ended = false;
  void waiting.ended.then(() => {
    ended = true;
  });
  await until(() => {
    waiting.stop();
    return ended;
  }, 'it does not end');
  t.equal((await waiting.ended).code, 0);
});

t.test('a container without privileges initializes too', { skip }, async (t) => {
  const [daemonSet] = ofKind(render({ init: { privileged: false } }), 'DaemonSet');
  const place = await bareNode(t);
  const [container] = daemonSet.spec.template.spec.initContainers;
  const { code, stdout } = await runContainer({ ...place, files: imageFiles(t), container }).ended;
  t.equal(code, 0, stdout);
  t.match(stdout, /"level":"warn".*tcp_migrate_req stays off/, 'but for the one setting');
});

t.test('the capability that the chart gives is needed', { skip }, async (t) => {
  const place = await bareNode(t);
  const spec = podSpecs()['pod-identity-broker'];
  const [server] = spec.containers;
  const capabilities = { drop: ['ALL'] };
  const container = { ...server, securityContext: { ...server.securityContext, capabilities } };
  const { code, stderr } = await runContainer({ ...place, files: imageFiles(t), container }).ended;
  t.not(code, 0);
  t.match(stderr, /Operation not permitted/);
});

t.test('the heap is what the chart says', { skip }, async (t) => {
  const place = await bareNode(t);
  const spec = podSpecs()['pod-identity-broker'];
  const script = "console.log(require('v8').getHeapStatistics().heap_size_limit / 1048576)";
  const { stdout } = await runContainer({
    ...place,
    files: imageFiles(t),
    container: { ...spec.containers[0], args: [] },
    // As the entry point starts it: the capability must not cost it its NODE_OPTIONS.
    entrypoint: ['/usr/local/bin/node', '--max-semi-space-size=16', '-e', script],
  }).ended;
  t.ok(Number(stdout) >= 160 && Number(stdout) < 216, stdout);
});

t.test('root without capabilities reads root’s credentials file', { skip }, async (t) => {
  const place = await bareNode(t);
  const [server] = podSpecs()['pod-identity-broker-hybrid'].containers;
  const script = 'fs.readFileSync(process.env.AWS_SHARED_CREDENTIALS_FILE)';
  const { code, stderr } = await runContainer({
    ...place,
    files: imageFiles(t),
    container: { ...server, args: [] },
    entrypoint: ['/usr/local/bin/node', '-e', script],
  }).ended;
  t.equal(code, 0, stderr);
});

t.test('the version is that of the package', { skip }, async (t) => {
  const file = new URL('../../package.json', import.meta.url);
  const { version } = JSON.parse(readFileSync(file, 'utf8'));
  t.equal(imageConfig().Labels['org.opencontainers.image.version'], version);
});
