import fc from 'fast-check';
import t, { type Test } from 'tap';
import { startSimulator } from '../../src/simulator/simulator.ts';
import { startBroker } from '../support/broker-process.ts';
import { answersWith, converse } from './converse.ts';
import { earned } from './earned.ts';
import { assembled, inPieces, mutated, noise, type Pieces } from './requests.ts';
import { fuzzing } from './seed.ts';

// Random and mutated bytes over a raw socket, to the broker in a process of its own: it
// survives all of them, ends every connection, goes on answering those who ask properly, and
// gives credentials to nobody who has not asked for them with a good token.

/** How often somebody asks properly in between. */
const BETWEEN = 25;

t.test('bytes', async (t) => {
  const simulator = await startSimulator({ keyAlgorithm: 'ES256' });
  t.teardown(() => simulator.close());
  simulator.associations.create({
    namespace: 'shop',
    serviceAccount: 'cart',
    roleArn: `arn:aws:iam::${simulator.account}:role/cart`,
  });
  const { kubelet } = simulator;
  const pod = kubelet.createPod({ namespace: 'shop', serviceAccount: 'cart' });
  const broker = await startBroker({
    simulator,
    t,
    // Every request reaches the parser: the limits have tests of their own.
    args: [`--token-issuer=${simulator.issuer}`, '--max-pod-qps=0', '--verbosity=trace'],
  });
  t.equal((await broker.get(pod.token)).status, 200);
  const calls = simulator.counts().assumeRole.calls;

  const host = '127.0.0.1';
  const earning = {
    hosts: [host, '169.254.170.23', '[fd00:ec2::23]'],
    tokens: new Set([pod.token]),
  };
  let conversations = 0;
  let given = 0;
  const holds = async (pieces: Pieces) => {
    conversations += 1;
    const conversation = await converse(broker.port, pieces);
    if (!conversation.ended) throw new Error('the connection was left open');
    const got = answersWith(200, conversation);
    const most = earned(Buffer.concat(pieces), earning);
    if (got > most) {
      const sent = JSON.stringify(Buffer.concat(pieces).toString('latin1'));
      throw new Error(`${got} answers with credentials, ${most} earned by ${sent}`);
    }
    given += got;
    if (conversations % BETWEEN === 0) {
      const { status } = await broker.get(pod.token);
      if (status !== 200) throw new Error(`a good request in between was answered ${status}`);
    }
  };
  const check = async (t: Test, one: fc.Arbitrary<Uint8Array>, runs: number) => {
    await fc.assert(fc.asyncProperty(inPieces(one), holds), fuzzing(t, runs));
  };

  const bad = [
    kubelet.mint({ pod, foreignKey: true }),
    kubelet.mint({ pod, lifetimeMs: -120_000 }),
    pod.token.slice(0, -1),
    `${pod.token}A`,
    'eyJ',
  ];
  const proper = [
    `GET /v1/credentials HTTP/1.1\r\nHost: ${host}\r\nAuthorization: ${pod.token}\r\n\r\n`,
    `GET /v1/credentials HTTP/1.1\r\nhost: ${host}:${broker.port}\r\nUser-Agent: aws-sdk/1\r\nAccept: */*\r\nauthorization: ${pod.token}\r\nConnection: keep-alive\r\n\r\n`,
  ].map((text) => Buffer.from(text));
  const unearned = [
    `GET /v1/credentials HTTP/1.1\r\nHost: ${host}\r\nAuthorization: ${bad[0]}\r\n\r\n`,
    `GET /v1/credentials HTTP/1.1\r\nHost: evil.example\r\nAuthorization: ${pod.token}\r\n\r\n`,
    `POST /v1/credentials HTTP/1.1\r\nHost: ${host}\r\nAuthorization: ${pod.token}\r\nContent-Length: 0\r\n\r\n`,
  ].map((text) => Buffer.from(text));

  await t.test('without any plan', (t) => check(t, noise, 800));
  await t.test('requests of parts that do not fit', (t) =>
    check(t, assembled({ good: pod.token, bad, host }), 1_500),
  );
  await t.test('proper requests with a few bytes changed', async (t) => {
    given = 0;
    await check(t, fc.oneof(...proper.map(mutated)), 1_500);
    t.ok(given > 0, 'some were still good, or this would show little');
  });
  await t.test('requests that earn nothing with a few bytes changed', (t) =>
    check(t, fc.oneof(...unearned.map(mutated)), 800),
  );

  t.equal((await broker.get(pod.token)).status, 200, 'all is as before');
  t.equal(simulator.counts().assumeRole.calls, calls, 'nothing of it reached EKS Auth');
  const metrics = await broker.metrics();
  for (const [name, value] of metrics) {
    if (name.includes('unexpected_errors')) t.equal(value, 0, name);
  }
  t.equal(await broker.stop(), 0, 'the broker has lived through it');
  const output = broker.lines.join('\n') + broker.stderr();
  t.notMatch(output, /eyJ/, 'the log holds nothing of a token');
  for (const part of pod.token.split('.')) t.notOk(output.includes(part.slice(4, 28)));
});
