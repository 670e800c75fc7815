import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { freePort } from '../../src/simulator/free-port.ts';
import { runProgram } from '../support/broker-process.ts';
import { createAuthority } from '../support/certificates.ts';
import { needsProgram } from '../support/needs.ts';
import { keyFile, type RedisServer, secretFile, startRedis } from '../support/redis-server.ts';
import { openSlowDoor } from '../support/slow-door.ts';
import { until } from '../support/until.ts';
import { ask, startCluster } from './cluster.ts';
import { BUDGET, MARGIN, MAX_FAILURES, type RedisNode, startRedisNode } from './redis-node.ts';

// Redis is away, hangs, is full, refuses, or lies: no request fails because of it, none waits
// for longer than the budget, the log says it once, and when Redis is well it is used again.

const skip = needsProgram('redis-server');

const AWAY = 'Redis is not used now';
const THERE = 'Redis is there';

/**
 * Whatever is wrong, pods do not feel it, and it is said once.
 *
 * @returns How long each of the misses took that came before it was known.
 */
async function goesOnWithout(t: Test, node: RedisNode, reason: RegExp): Promise<number[]> {
  const before: number[] = [];
  for (let request = 0; request < 5; request += 1) before.push(await node.miss());
  await node.circuit(false);
  await node.isAsFastAsWithout('miss');
  await node.isAsFastAsWithout('hit');
  t.match(await node.broker.logged(({ msg }) => msg === AWAY), { level: 'warn', reason });
  t.equal(node.said(AWAY), 1, 'it is said once');
  await node.countWaits();
  return before;
}

async function isUsedAgain(t: Test, node: RedisNode, redis: RedisServer): Promise<void> {
  await node.circuit(true);
  await node.broker.logged(({ msg }) => msg === THERE);
  await node.miss();
  const client = redis.client();
  const kept = async () => (await client.keys('*:e:*')).length;
  const held = async () =>
    (await node.broker.metrics()).get('pod_identity_broker_sessions{scope="service-account"}');
  // What was fetched meanwhile is kept now.
  await until(async () => (await kept()) === (await held()), 'everything is kept');
  t.ok((await kept()) > 0);
}

t.test('absent at the start, there later', { skip }, async (t) => {
  const port = await freePort();
  const node = await startRedisNode(t, `redis://127.0.0.1:${port}`);
  t.equal(await node.broker.probe('readyz'), 200, 'readiness does not depend on it');
  await goesOnWithout(t, node, /./);
  await isUsedAgain(t, node, await startRedis(t, { port }));
});

t.test('killed under load, and restarted empty', { skip }, async (t) => {
  const redis = await startRedis(t);
  const node = await startRedisNode(t, redis.url);
  await node.circuit(true);
  await node.miss();
  const load = Promise.all(Array.from({ length: 10 }, () => node.miss()));
  await redis.kill();
  await load;
  await goesOnWithout(t, node, /ECONNREFUSED|ECONNRESET|closed/);
  const before = node.cluster.calls().length;
  await isUsedAgain(t, node, await startRedis(t, { port: redis.port }));
  await node.hit();
  t.equal(node.cluster.calls().length, before + 1, 'it cost no session');
});

t.test('hung', { skip }, async (t) => {
  const redis = await startRedis(t);
  const node = await startRedisNode(t, redis.url);
  await node.circuit(true);
  await node.miss();
  redis.process.kill('SIGSTOP');
  // Redis is asked for no session that is there.
  const claims = await node.claims();
  await node.isAsFastAsWithout('hit');
  t.equal(await node.claims(), claims, 'a hit has nothing to do with Redis');
  const took = (await goesOnWithout(t, node, /no answer within/)).slice(0, MAX_FAILURES);
  t.ok((await node.countWaits()) > 0, 'before that is known, misses wait for it');
  redis.process.kill('SIGCONT');
  await isUsedAgain(t, node, redis);
  // On a machine that is busy the misses of one time may all be slow.
  let heldUp = await node.heldUp(took);
  for (let round = 0; round < 5 && heldUp >= BUDGET + MARGIN; round += 1) {
    redis.process.kill('SIGSTOP');
    for (let request = 0; request < MAX_FAILURES; request += 1) took.push(await node.miss());
    await node.circuit(false);
    redis.process.kill('SIGCONT');
    await node.circuit(true);
    heldUp = await node.heldUp(took);
  }
  t.ok(heldUp < BUDGET + MARGIN, `for its budget: ${heldUp.toFixed(1)} ms`);
});

t.test('hung at the start: pods are answered without what it keeps', { skip }, async (t) => {
  const redis = await startRedis(t);
  const key = keyFile(t);
  const first = await startRedisNode(t, redis.url, [`--redis-key-file=${key}`]);
  await first.circuit(true);
  await first.miss();
  const client = redis.client();
  await until(async () => (await client.keys('*:e:*')).length === 1, 'it is kept');
  await first.broker.stop();
  redis.process.kill('SIGSTOP');
  // Ready, or this fails after its time: Redis does not answer before that.
  const second = await startRedisNode(t, redis.url, [`--redis-key-file=${key}`]);
  await second.isAsFastAsWithout('miss');
  t.equal(await second.claims('timeout'), 0, 'nobody has waited for it');
  redis.process.kill('SIGCONT');
  await second.broker.logged(({ msg }) => msg === 'sessions loaded from Redis');
  const messages = second.broker.logs().map(({ msg }) => msg);
  t.ok(messages.indexOf('ready') < messages.indexOf('sessions loaded from Redis'));
});

t.test('slow', { skip }, async (t) => {
  const redis = await startRedis(t);
  const door = await openSlowDoor(t, redis.port);
  const node = await startRedisNode(t, `redis://127.0.0.1:${door.port}`);
  await node.circuit(true);
  await node.miss();
  door.delay = 3_000;
  await goesOnWithout(t, node, /no answer within/);
  t.ok((await node.countWaits()) > 0, 'before that is known, misses wait for it');
  door.delay = 0;
  await isUsedAgain(t, node, redis);
});

t.test('full', { skip }, async (t) => {
  const redis = await startRedis(t, { args: ['--maxmemory-policy', 'noeviction'] });
  const node = await startRedisNode(t, redis.url);
  await node.circuit(true);
  await node.miss();
  const client = redis.client();
  await client.config('SET', 'maxmemory', '1');
  await goesOnWithout(t, node, /OOM/);
  await client.config('SET', 'maxmemory', '0');
  await isUsedAgain(t, node, redis);
});

t.test('become a read-only replica', { skip }, async (t) => {
  const redis = await startRedis(t);
  const primary = await startRedis(t);
  const node = await startRedisNode(t, redis.url);
  await node.circuit(true);
  await node.miss();
  const client = redis.client();
  await client.call('REPLICAOF', '127.0.0.1', String(primary.port));
  await goesOnWithout(t, node, /READONLY|closed/);
  await client.call('REPLICAOF', 'NO', 'ONE');
  await isUsedAgain(t, node, redis);
});

t.test('a password that is wrong, until it is right', { skip }, async (t) => {
  const password = randomBytes(16).toString('hex');
  const redis = await startRedis(t);
  const client = redis.client();
  await client.call(
    'ACL',
    'SETUSER',
    'broker',
    'on',
    `>other-${password}`,
    '~{pib:*',
    '&{pib:*',
    // As the README has it.
    '+@all',
    '-@admin',
    '-@dangerous',
    '+info',
  );
  await client.call('ACL', 'SETUSER', 'default', 'on', 'nopass');
  const node = await startRedisNode(t, redis.url, [
    '--redis-username=broker',
    `--redis-password-file=${secretFile(t, password)}`,
  ]);
  await goesOnWithout(t, node, /WRONGPASS|NOAUTH|closed/);
  await client.call('ACL', 'SETUSER', 'broker', `>${password}`);
  await isUsedAgain(t, node, redis);
  t.notOk(
    node.broker.lines.some((line) => line.includes(password)),
    'it is in no line',
  );
});

t.test('TLS: with its CA, and without', { skip }, async (t) => {
  const authority = createAuthority(t);
  const { cert, key } = authority.issue('redis.test');
  const folder = t.testdir();
  const file = (name: string, text: string) => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  };
  const port = await freePort();
  await startRedis(t, {
    port,
    wait: false,
    args: [
      ...['--port', '0', '--tls-port', String(port), '--tls-auth-clients', 'no'],
      ...['--tls-cert-file', file('cert', cert), '--tls-key-file', file('key', key)],
      ...['--tls-ca-cert-file', authority.path],
    ],
  });
  const url = `rediss://127.0.0.1:${port}`;
  const trusting = await startRedisNode(t, url, [`--redis-ca-file=${authority.path}`]);
  await trusting.circuit(true);
  await trusting.miss();
  const other = await startRedisNode(t, url, [
    `--redis-ca-file=${createAuthority(t, 'other').path}`,
  ]);
  await goesOnWithout(t, other, /CERT|SIGNATURE|closed/);
});

t.test('an entry that was tampered with is not served', { skip }, async (t) => {
  const redis = await startRedis(t);
  const key = keyFile(t);
  const cluster = await startCluster(t);
  cluster.associate('cart', 'till');
  const args = [`--redis-url=${redis.url}`, `--redis-key-file=${key}`];
  const pods = [cluster.pod('cart'), cluster.pod('till')] as const;
  const first = await cluster.broker({ args });
  const given: string[] = [];
  for (const { token } of pods) given.push((await ask(first, token)).body.AccessKeyId);
  const client = redis.client();
  const entries = () => client.keys('*:e:*');
  await until(async () => (await entries()).length === 2, 'both are kept');
  await first.stop();
  const [one = '', other = ''] = await entries();
  const everything = JSON.stringify([
    await client.keys('*'),
    await Promise.all([one, other].map((name) => client.hgetall(name))),
  ]);
  const told = [...given, ...pods.flatMap(({ token }) => [token, token.split('.')[1] ?? ''])];
  for (const secret of [...told, 'cart', 'till', 'shop', 'assumed-role', 'simulated']) {
    t.notOk(everything.includes(secret), 'Redis learns nothing');
  }
  // A thief would like one pod to be served what is another's.
  await client.hset(one, await client.hgetall(other));
  const second = await cluster.broker({ args });
  const again: string[] = [];
  for (const { token } of pods) again.push((await ask(second, token)).body.AccessKeyId);
  t.equal(cluster.calls().length, 3, 'EKS Auth is asked for the one');
  t.equal(again.filter((id, index) => id === given[index]).length, 1, 'the other is warm');
  const metrics = await second.metrics();
  t.equal(
    metrics.get('pod_identity_broker_redis_entries_rejected_total{reason="undecryptable"}'),
    1,
  );
  t.equal(
    second.logs().filter(({ msg }) => msg === 'an entry of Redis is not used, and deleted').length,
    1,
  );
});

t.test('a key that cannot be used ends the start, and is not repeated', async (t) => {
  const cluster = await startCluster(t);
  const short = randomBytes(31);
  const { code, stdout } = await runProgram(
    ['server', '--redis-url=redis://127.0.0.1:1', `--redis-key-file=${keyFile(t, short)}`],
    { simulator: cluster.simulator },
  );
  t.equal(code, 1);
  t.match(stdout, /--redis-key-file .* key 1: must be 32 bytes/);
  t.notOk(stdout.includes(short.toString('base64')));
});
