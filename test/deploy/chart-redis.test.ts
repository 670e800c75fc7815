import { readdirSync, readFileSync } from 'node:fs';
import t from 'tap';
import {
  faults,
  type Manifest,
  needsChartTools,
  ofKind,
  parsed,
  podSpec,
  render,
  renderText,
  server,
} from './chart.ts';

const skip = needsChartTools();

t.test('Redis: its secret is for the server’s user alone', { skip }, async (t) => {
  const redis = { url: 'redis://host', secretName: 'broker-redis' };
  const [daemonSet] = ofKind(render({ redis }), 'DaemonSet');
  const named = ({ name }: Manifest) => name === 'redis';
  t.match(podSpec(daemonSet).volumes.find(named).secret, {
    secretName: 'broker-redis',
    defaultMode: 0o440,
  });
  t.equal(podSpec(daemonSet).securityContext.fsGroup, server(daemonSet).securityContext.runAsUser);
  t.match(server(daemonSet).volumeMounts.find(named), { readOnly: true });
  const [without] = ofKind(render({}), 'DaemonSet');
  t.notMatch(JSON.stringify(without), 'redis');
});

t.test('the key of a Redis of the node’s own is a file of the node', { skip }, async (t) => {
  const redis = { url: 'redis://127.0.0.1', keyHostPath: '/etc/broker/key' };
  const [daemonSet] = ofKind(render({ redis }), 'DaemonSet');
  const named = ({ name }: Manifest) => name.startsWith('redis');
  t.strictSame(podSpec(daemonSet).volumes.filter(named), [
    { name: 'redis-key', hostPath: { path: '/etc/broker/key', type: 'File' } },
  ]);
  const [mount] = server(daemonSet).volumeMounts.filter(named);
  t.equal(mount.readOnly, true);
  t.match(parsed(server(daemonSet).args), { redis: { keyFile: mount.mountPath } });

  const both = { ...redis, secretName: 'redis', passwordEntry: 'password' };
  const [other] = ofKind(render({ redis: both }), 'DaemonSet');
  t.match(parsed(server(other).args), {
    redis: {
      keyFile: mount.mountPath,
      passwordFile: '/etc/pod-identity-broker/redis/password',
    },
  });
});

t.test('the examples of values', { skip }, async (t) => {
  const folder = new URL('../../deploy/chart/examples/', import.meta.url);
  const redis = Object.fromEntries(
    readdirSync(folder).map((file) => {
      const manifests = renderText(readFileSync(new URL(file, folder), 'utf8'));
      t.strictSame(faults(manifests), [], file);
      const [daemonSet] = ofKind(manifests, 'DaemonSet');
      return [file, parsed(server(daemonSet).args).redis];
    }),
  );
  t.match(redis, {
    'redis-none.yaml': undefined,
    'redis-node.yaml': { target: { kind: 'server', tls: false }, sharing: 'node' },
    'redis-shared.yaml': { target: { kind: 'server', tls: true }, sharing: 'cluster' },
  });
});
