import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import t from 'tap';
import { freePort } from '../../src/simulator/free-port.ts';
import { createAuthority } from '../support/certificates.ts';
import { needsProgram } from '../support/needs.ts';
import { secretFile, startRedis } from '../support/redis-server.ts';
import { until } from '../support/until.ts';
import { startRedisNode } from './redis-node.ts';

// The server that holds the sessions dies, and another takes its place: no pod feels it, and
// the broker finds the new one.

const skip = needsProgram('redis-server');
const ENTRIES = '*:e:*';
t.test('a replica that sentinels promote', { skip }, async (t) => {
  const primary = await startRedis(t);
  const replica = await startRedis(t, { args: ['--replicaof', '127.0.0.1', String(primary.port)] });
  const copy = replica.client();
  await until(
    async () => (await copy.info('replication')).includes('master_link_status:up'),
    'the replica follows',
  );
  const port = await freePort();
  const password = randomBytes(16).toString('hex');
  const file = join(t.testdir(), 'sentinel.conf');
  writeFileSync(
    file,
    `sentinel monitor main 127.0.0.1 ${primary.port} 1
sentinel down-after-milliseconds main 500
sentinel failover-timeout main 3000
requirepass ${password}
`,
  );
  await startRedis(t, {
    port,
    config: file,
    args: ['--sentinel'],
    wait: false,
  });
  const watcher = new Redis({ host: '127.0.0.1', port, password });
  watcher.on('error', () => undefined);
  t.teardown(() => watcher.disconnect());
  await until(
    async () => ((await watcher.call('SENTINEL', 'REPLICAS', 'main')) as unknown[]).length === 1,
    'the sentinel knows the replica',
  );
  const node = await startRedisNode(t, `redis+sentinel://localhost:${port}/main`, [
    `--redis-sentinel-password-file=${secretFile(t, password)}`,
  ]);
  await node.circuit(true);
  await node.miss();
  await until(async () => (await copy.keys(ENTRIES)).length === 1, 'it is replicated');

  await primary.kill();
  await until(async () => !(await node.isClosed()), 'the circuit opens');
  await until(async () => {
    await node.miss();
    return await node.isClosed();
  }, 'the broker has found the new primary');
  const before = (await copy.keys(ENTRIES)).length;
  t.ok(before >= 1, 'what was kept is still there');
  await node.miss();
  await until(async () => (await copy.keys(ENTRIES)).length > before, 'it is written to');
  await node.countWaits();
});

t.test('a primary that sentinels name, all over TLS', { skip }, async (t) => {
  const authority = createAuthority(t);
  const { cert, key } = authority.issue('redis.test');
  const folder = t.testdir({ cert, key, 'sentinel.conf': '' });
  const secured = (port: number) => [
    ...['--port', '0', '--tls-port', String(port), '--tls-auth-clients', 'no'],
    ...['--tls-cert-file', join(folder, 'cert'), '--tls-key-file', join(folder, 'key')],
    ...['--tls-ca-cert-file', authority.path, '--tls-replication', 'yes'],
  ];
  const [primary, sentinel] = [await freePort(), await freePort()];
  await startRedis(t, { port: primary, wait: false, args: secured(primary) });
  const config = join(folder, 'sentinel.conf');
  writeFileSync(config, `sentinel monitor main 127.0.0.1 ${primary} 1\n`);
  await startRedis(t, {
    ...{ port: sentinel, config, wait: false },
    args: ['--sentinel', ...secured(sentinel)],
  });
  const node = await startRedisNode(t, `rediss+sentinel://127.0.0.1:${sentinel}/main`, [
    `--redis-ca-file=${authority.path}`,
  ]);
  await node.circuit(true);
  await node.miss();
  const looking = new Redis({
    ...{ host: '127.0.0.1', port: primary },
    tls: { ca: readFileSync(authority.path) },
  });
  looking.on('error', () => undefined);
  t.teardown(() => looking.disconnect());
  await until(async () => (await looking.keys(ENTRIES)).length === 1, 'it is written to');
  t.pass('names, certificates and all');
});

t.test('a Redis Cluster whose replica takes over', { skip }, async (t) => {
  const [bus, otherBus] = [await freePort(), await freePort()];
  const clustered = (port: number) => ['--cluster-enabled', 'yes', '--cluster-port', String(port)];
  const primary = await startRedis(t, { args: clustered(bus) });
  const replica = await startRedis(t, { args: clustered(otherBus) });
  const [one, other] = [primary.client(), replica.client()];
  await one.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
  await other.call('CLUSTER', 'MEET', '127.0.0.1', String(primary.port), String(bus));
  const id = (await one.call('CLUSTER', 'MYID')) as string;
  await until(
    async () => (await other.call('CLUSTER', 'REPLICATE', id).catch(() => '')) === 'OK',
    'the replica has met the primary',
  );
  await until(
    async () =>
      (await other.info('replication')).includes('master_link_status:up') &&
      ((await one.call('CLUSTER', 'INFO')) as string).includes('cluster_state:ok'),
    'the replica follows',
  );
  const node = await startRedisNode(
    t,
    `redis+cluster://127.0.0.1:${primary.port},127.0.0.1:${replica.port}`,
  );
  await node.circuit(true);
  await node.miss();
  await until(async () => (await other.keys(ENTRIES)).length === 1, 'it is replicated');

  await primary.kill();
  await until(async () => {
    await node.miss();
    return !(await node.isClosed());
  }, 'the circuit opens');
  // With one primary there is no majority that could decide it.
  await other.call('CLUSTER', 'FAILOVER', 'TAKEOVER');
  await until(async () => {
    await node.miss();
    return await node.isClosed();
  }, 'the broker has found the new primary');
  const before = (await other.keys(ENTRIES)).length;
  await node.miss();
  await until(async () => (await other.keys(ENTRIES)).length > before, 'it is written to');
  await node.countWaits();
});
