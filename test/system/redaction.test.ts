import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { inspect } from 'node:util';
import t from 'tap';
import { startSimulator } from '../../src/simulator/simulator.ts';
import { keepFile } from '../../src/simulator/test-output.ts';
import { collectTracesTo } from '../../src/simulator/traces/collect-traces.ts';
import { ask } from '../support/ask.ts';
import { runProgram, startBroker } from '../support/broker-process.ts';
import { SecretSearch } from '../support/secret-search.ts';

// Nothing that is logged, traced, measured, shown or answered holds a token or a secret,
// in whatever form.

t.test('no token and no secret leaves the broker but in its answers to pods', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'redaction-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const traceFile = join(folder, 'traces.jsonl');
  const traces = await collectTracesTo(traceFile);
  const simulator = await startSimulator({ keyAlgorithm: 'ES256' });
  t.teardown(() => simulator.close());
  simulator.associations.create({
    namespace: 'shop',
    serviceAccount: 'cart',
    roleArn: `arn:aws:iam::${simulator.account}:role/cart`,
  });
  const broker = await startBroker({
    simulator,
    t,
    args: [`--token-issuer=${simulator.issuer}`, '-v', 'trace', '--metrics-service-accounts'],
    env: traces.environment,
  });

  const secrets: string[] = [];
  const seen: string[] = [];
  const node = simulator.nodeCredentials;
  secrets.push(node.secretAccessKey);
  if (node.sessionToken !== undefined) secrets.push(node.sessionToken);

  const newToken = (serviceAccount: string) => {
    const { token } = simulator.kubelet.createPod({ namespace: 'shop', serviceAccount });
    secrets.push(token);
    return token;
  };
  const get = async (token: string, headers: Record<string, string> = {}, path?: string) => {
    const answer = await broker.get(token, headers, path === undefined ? {} : { path });
    if (answer.status === 200) secrets.push(answer.body.SecretAccessKey, answer.body.Token);
    else seen.push(answer.text, JSON.stringify(answer.headers));
    return answer.status;
  };
  const operator = async (...args: string[]) => {
    const { stdout, stderr } = await runProgram([...args, `--admin-socket=${broker.adminSocket}`]);
    seen.push(stdout, stderr);
  };

  await t.test('hits, misses and refusals', async (t) => {
    const token = newToken('cart');
    t.equal(await get(token), 200);
    t.equal(await get(token), 200);
    t.equal(await get(newToken('cart')), 200);
    t.equal(await get(newToken('nobody')), 404);
    t.equal(await get(token, { Host: 'evil.example' }), 403);
    t.equal(await get(token, {}, `/v1/credentials/${token}`), 404);
    t.equal(await get(`Bearer ${token}`), 400);
  });

  await t.test('tokens that are forged, cut, spoilt or too long', async (t) => {
    const token = newToken('cart');
    const [header = '', payload = '', signature = ''] = token.split('.');
    const changed = Buffer.from(payload, 'base64url').toString().replace('cart', 'till');
    const unknownKey = Buffer.from(
      JSON.stringify({ alg: 'ES256', kid: `${signature}${signature}` }),
    ).toString('base64url');
    const kidIsToken = Buffer.from(JSON.stringify({ alg: 'ES256', kid: token })).toString(
      'base64url',
    );
    for (const bad of [
      `${header}.${payload}.${[...signature].toReversed().join('')}`,
      `${header}.${Buffer.from(changed).toString('base64url')}.${signature}`,
      `${header}.${payload}`,
      `${token}.${signature}`,
      `${unknownKey}.${payload}.${signature}`,
      `${kidIsToken}.${payload}.${signature}`,
      `${header}.${payload}.${signature} ${token}`,
    ]) {
      t.equal(await get(bad), 400);
      await explain(bad);
    }
    t.equal(await get(token.repeat(40)), 431);
  });

  await t.test('requests that cannot be parsed', async () => {
    const token = newToken('cart');
    for (const raw of [
      `GET /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization ${token}\r\n\r\n`,
      `GET /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: ${token}\u0000\r\n\r\n`,
      `GET ${token} HTTP/9.9\r\n\r\n`,
      `${token}\r\n\r\n`,
    ]) {
      const socket = connect(broker.port, '127.0.0.1');
      socket.on('error', () => undefined);
      socket.setEncoding('latin1').on('data', (text: string) => seen.push(text));
      socket.write(raw, 'latin1');
      await Promise.race([new Promise((resolve) => socket.on('close', resolve)), pause(2_000)]);
      socket.destroy();
    }
  });

  await t.test('errors of EKS Auth that quote what they were sent', async (t) => {
    const { sessionToken = '' } = node;
    // A service can quote what it was sent: the token, and the headers but for the secret.
    const quotes = [
      (token: string) => `bad token ${token}.`,
      (token: string) => `Authorization=${token.slice(200)}&cut=${token.slice(0, 300)}`,
      () => `headers were x-amz-security-token:${sessionToken.slice(0, 900)};host:x`,
      (token: string) => `bytes ${Buffer.from(token).toString('base64').slice(0, 1_200)}`,
      (token: string) => `{"token":"${Buffer.from(token).toString('hex').slice(0, 1_500)}"}`,
    ];
    const errors = [
      { code: 'InvalidTokenException', status: 400 },
      { code: 'InvalidRequestException', status: 400 },
      { code: 'AccessDeniedException', status: 403 },
      { code: 'InvalidSignatureException', status: 403 },
      { code: 'SomethingNewException', status: 500 },
    ];
    const faults = [
      ...errors.map((error, i) => ({ ...error, kind: 'error' as const, quote: quotes[i] })),
      ...(['half-body', 'garbage', 'reset'] as const).map((kind) => ({ kind, quote: undefined })),
    ];
    for (const { quote, ...fault } of faults) {
      const token = newToken('cart');
      const message = quote?.(token);
      simulator.faults.add({ calls: 3, ...fault, ...(message !== undefined && { message }) });
      await operator('flush');
      const status = await get(token);
      t.ok(status > 0, `${'code' in fault ? fault.code : fault.kind}: ${status}`);
      await operator('status', '--json');
      await explain(token);
      simulator.faults.clear();
    }
  });

  async function explain(token: string): Promise<void> {
    const file = join(folder, 'token');
    writeFileSync(file, token);
    await operator('explain', '--token-file', file);
    await operator('explain', '--json', '--token-file', file);
  }

  await operator('status');
  // What the operator's own program is told wrongly.
  await operator('explain', `--token-file=${newToken('cart').slice(0, 40)}`);
  const metrics = await ask(broker.metricsPort, '/metrics', 'GET', { Connection: 'close' });
  seen.push(metrics.text);
  t.equal(await broker.stop(), 0);
  await traces.close();
  keepFile(traceFile);
  const spans = readFileSync(traceFile, 'utf8');
  t.match(spans, '/v1/credentials', 'traces were collected');
  t.match(broker.lines.join('\n'), '"level":"debug"', 'and debug lines written');
  seen.push(spans, broker.lines.join('\n'), broker.stderr());

  const search = new SecretSearch();
  for (const secret of secrets) search.add(secret);
  const text = seen.join('\n');
  t.strictSame(search.in(text), [], `${secrets.length} secrets in ${text.length} letters`);
});

t.test('the search finds what it is to find', async (t) => {
  const secret = 'wJalrXUtnFEMIK7MDENGbPxRfiCYzEXAMPLEKEY+/';
  const bytes = Buffer.from(secret);
  const hidden: [form: string, text: string][] = [
    ['plain', secret],
    ['plain', `a long line of text that is cut ${secret.slice(0, 20)}\n  ${secret.slice(20)}`],
    ['plain', `?key=${encodeURIComponent(secret)}`],
    ['base64', Buffer.from(`x${secret}`).toString('base64')],
    ['base64', Buffer.from(`xy${secret}z`).toString('base64url')],
    ['hex', bytes.toString('hex')],
    ['hex', bytes.toString('hex').toUpperCase()],
    ['hex', inspect(bytes)],
    ['bytes', JSON.stringify(bytes)],
    ['bytes', JSON.stringify([...bytes], undefined, 2)],
    ['bytes', JSON.stringify({ message: JSON.stringify([...bytes], undefined, 2) })],
  ];
  const search = new SecretSearch();
  search.add(secret);
  for (const [form, text] of hidden) {
    t.equal(search.in(`before ${text} after`)[0]?.form, form, text);
  }
  t.strictSame(search.in(`${secret.slice(0, 20)} ${secret.slice(-20)}`), []);
});

t.test('… whatever else there is to find, and where the parts of a text meet', async (t) => {
  const search = new SecretSearch();
  const secrets = Array.from({ length: 500 }, () => randomBytes(60).toString('base64url'));
  for (const secret of secrets) search.add(secret);
  const filling = randomBytes(3_000).toString('base64');
  t.strictSame(search.in(filling), []);
  for (const secret of secrets) {
    const text = Buffer.from(`${filling}${secret}${filling}`);
    const parts = search.begin();
    for (let at = 0; at < text.length; at += 97) parts.write(text.subarray(at, at + 97));
    if (parts.findings.length === 0) t.fail(`not found: ${secret}`);
  }
});
