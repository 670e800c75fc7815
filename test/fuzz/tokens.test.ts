import fc from 'fast-check';
import t, { type Test } from 'tap';
import { startSimulator } from '../../src/simulator/simulator.ts';
import { type KeySet, verifyToken } from '../../src/tokens/verify.ts';
import { type BrokerProcess, startBroker } from '../support/broker-process.ts';
import { answersWith, type Conversation, converse } from './converse.ts';
import { earned } from './earned.ts';
import { leaks } from './leaks.ts';
import { fuzzing } from './seed.ts';
import { changed, forged, type Issued, oddlyIssued, respelt, swapped } from './tokens.ts';

// Real tokens spoilt in every way that comes to mind, to the function that judges them and to
// the whole broker: only the very bytes that were issued are worth anything.

const HOST = '127.0.0.1';

t.test('tokens', async (t) => {
  const simulator = await startSimulator({ keyAlgorithm: 'ES256' });
  t.teardown(() => simulator.close());
  const { kubelet, issuerKeys, issuer, account } = simulator;
  for (const serviceAccount of ['cart', 'till']) {
    simulator.associations.create({
      namespace: 'shop',
      serviceAccount,
      roleArn: `arn:aws:iam::${account}:role/${serviceAccount}`,
    });
  }
  const create = (serviceAccount: string) =>
    kubelet.createPod({ namespace: 'shop', serviceAccount }).token;
  const first = [create('cart'), create('till')];
  issuerKeys.rotate({ algorithm: 'RS256' });
  const issued: Issued = [create('cart'), create('till'), ...first];
  issuerKeys.rotate({ algorithm: 'ES256' });
  const good = new Set(issued);
  const jwks = issuerKeys.jwks();
  const spoilt = fc.oneof(
    changed(issued),
    swapped(issued),
    respelt(issued),
    forged(issued, jwks.keys),
  );

  await t.test('are judged', async (t) => {
    const keys: KeySet = { id: 1, issuer, jwks: jwks as KeySet['jwks'] };
    const expected = { audience: 'pods.eks.amazonaws.com', nodeName: undefined };
    const judge = (text: string) => verifyToken(text, keys, expected, Date.now());
    for (const token of issued) t.equal((await judge(token)).verdict, 'verified');

    await t.test('spoilt ones', async (t) => {
      const holds = async (text: string) => {
        const verdict = await judge(text);
        if (verdict.verdict === 'verified') return good.has(text);
        return verdict.verdict !== 'unfit' || leaks(verdict.reason, [text]).length === 0;
      };
      await fc.assert(fc.asyncProperty(spoilt, holds), fuzzing(t, 4_000));
    });

    await t.test('odd ones of the issuer', async (t) => {
      let verified = 0;
      const holds = async ({ text, claims }: { text: string; claims: string }) => {
        const verdict = await judge(text);
        if (verdict.verdict !== 'verified') return true;
        verified += 1;
        const { pod } = verdict;
        const said = JSON.parse(claims);
        const kubernetes = said['kubernetes.io'];
        return (
          said.sub === `system:serviceaccount:${pod.namespace}:${pod.serviceAccount}` &&
          kubernetes.namespace === pod.namespace &&
          kubernetes.serviceaccount.name === pod.serviceAccount &&
          kubernetes.serviceaccount.uid === pod.serviceAccountUid &&
          kubernetes.pod.uid === pod.podUid &&
          said.iss === issuer &&
          Object.hasOwn(said, 'exp') &&
          [said.aud].flat().includes(expected.audience)
        );
      };
      const tokens = oddlyIssued(issued, issuerKeys.current);
      await fc.assert(fc.asyncProperty(tokens, holds), fuzzing(t, 1_000));
      t.ok(verified > 0, 'some were good, or this would show little');
    });
  });

  await t.test('are presented', async (t) => {
    const broker = await startBroker({
      simulator,
      t,
      args: [`--token-issuer=${issuer}`, '--max-pod-qps=0', '--verbosity=trace'],
    });
    for (const token of issued) t.equal((await broker.get(token)).status, 200);
    const calls = simulator.counts().assumeRole.calls;

    await t.test('spoilt ones', async (t) => {
      const holds = async (text: string) => {
        const [conversation, request] = await present(broker, text);
        const most = earned(request, { hosts: [HOST], tokens: good });
        return (
          answersWith(200, conversation) <= most && leaks(conversation.said, [text]).length === 0
        );
      };
      await fc.assert(fc.asyncProperty(spoilt, holds), fuzzing(t, 2_000));
      t.equal(simulator.counts().assumeRole.calls, calls, 'none of them reached EKS Auth');
    });

    await t.test('odd ones of the issuer', async (t) => {
      const holds = async ({ text, claims }: { text: string; claims: string }) => {
        const [conversation] = await present(broker, text);
        if (answersWith(200, conversation) === 0) return true;
        const key = /"AccessKeyId":"(\w+)"/.exec(conversation.said)?.[1];
        const event = simulator.audit.events().find((one) => one.issuedAccessKeyId === key);
        return (
          JSON.parse(claims).sub ===
          `system:serviceaccount:${event?.namespace}:${event?.serviceAccount}`
        );
      };
      const tokens = oddlyIssued(issued, issuerKeys.current);
      await fc.assert(fc.asyncProperty(tokens, holds), fuzzing(t, 500));
    });

    for (const token of issued) t.equal((await broker.get(token)).status, 200, 'good as before');
    await ended(t, broker, issued);
  });
});

/** Presents a token as it is, whatever is in it. @returns The answer, and the request. */
async function present(
  broker: BrokerProcess,
  token: string,
): Promise<[answer: Conversation, request: Uint8Array]> {
  const request = Buffer.from(
    `GET /v1/credentials HTTP/1.1\r\nHost: ${HOST}\r\nAuthorization: ${token}\r\n\r\n`,
    'latin1',
  );
  const conversation = await converse(broker.port, [request]);
  if (!conversation.ended) throw new Error('the connection was left open');
  return [conversation, request];
}

/** The broker has lived through it, and has not written down what it was told. */
async function ended(t: Test, broker: BrokerProcess, issued: Issued): Promise<void> {
  for (const [name, value] of await broker.metrics()) {
    if (name.includes('unexpected_errors')) t.equal(value, 0, name);
  }
  t.equal(await broker.stop(), 0);
  const output = broker.lines.join('\n') + broker.stderr();
  t.notMatch(output, /eyJ/, 'the log holds no beginning of a token');
  const secrets = issued.flatMap((token) => token.split('.'));
  t.same(leaks(output, secrets), [], 'nor any other part of one');
}
