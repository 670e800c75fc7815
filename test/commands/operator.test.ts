import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { BrokerStatus } from '../../src/broker/status.ts';
import type { Explanation } from '../../src/sessions/explanation.ts';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import { type BrokerProcess, runProgram, startBroker } from '../support/broker-process.ts';

// What the operator on the node asks the broker: `status` and `explain`.

interface Node {
  readonly simulator: Simulator;
  readonly broker: BrokerProcess;
  /** Runs a command against the broker. */
  ask(...args: string[]): ReturnType<typeof runProgram>;
  /** `explain` of a token, as JSON. */
  explain(token: string): Promise<Explanation & { readonly code: number | null }>;
  token(serviceAccount: string): string;
}

async function node(t: Test, args: readonly string[] = []): Promise<Node> {
  const simulator = await startSimulator({ keyAlgorithm: 'ES256' });
  t.teardown(() => simulator.close());
  for (const serviceAccount of ['cart', 'till']) {
    simulator.associations.create({
      namespace: 'shop',
      serviceAccount,
      roleArn: `arn:aws:iam::${simulator.account}:role/role-of-${serviceAccount}`,
    });
  }
  const broker = await startBroker({
    simulator,
    t,
    args: args.length > 0 ? args : [`--token-issuer=${simulator.issuer}`, '--flight-timeout=2m'],
  });
  const folder = mkdtempSync(join(tmpdir(), 'token-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const ask = (...words: string[]) =>
    runProgram([...words, `--admin-socket=${broker.adminSocket}`]);
  return {
    simulator,
    broker,
    ask,
    async explain(token) {
      const file = join(folder, 'token');
      writeFileSync(file, `${token}\n`);
      const { code, stdout, stderr } = await ask('explain', '--json', '--token-file', file);
      t.equal(stderr, '');
      return { ...JSON.parse(stdout), code };
    },
    token: (serviceAccount) =>
      simulator.kubelet.createPod({ namespace: 'shop', serviceAccount }).token,
  };
}

const detail = ({ steps }: Explanation, name: string) =>
  steps.find(({ step }) => step === name)?.detail;

t.test('status shows what the broker holds', async (t) => {
  const { broker, ask, token } = await node(t);
  const none = await ask('status');
  t.equal(none.code, 0);
  t.match(none.stdout, /sessions {2}0: served 0 times/);

  const first = token('cart');
  await broker.get(first);
  await broker.get(first);
  await broker.get(token('cart'));
  await broker.get(token('till'));
  await broker.get(token('nobody'));
  const { stdout, code } = await ask('status');
  t.equal(code, 0);
  t.match(
    stdout,
    /^shop +cart +service-account +role-of-cart +2 +3 +1 +\d+s +(?:5h5\dm|6h0m) +(?:2h\d+m|3h0m) +fresh +-$/m,
  );
  t.match(stdout, /^shop +till +service-account +role-of-till +1 +1 +0 /m);
  t.match(stdout, /^shop +nobody +service-account +- +0 +0 +0 +- +- +- +absent +\w+Exception$/m);
  t.match(stdout, 'addresses 1 of 1 bound');

  const status = JSON.parse((await ask('status', '--json')).stdout) as BrokerStatus;
  t.match(
    status.sessions.find(({ serviceAccount }) => serviceAccount === 'cart'),
    { state: 'fresh', pods: 2, served: 3, callsSaved: 1, assumedRoleArn: /role-of-cart/ },
  );
  t.match(status, {
    keys: { usable: true, proven: true },
    calls: { pace: 'unlimited', rate: null },
  });
  t.notMatch(JSON.stringify(status), /eyJ/, 'no token');
});

t.test('status says that nobody is there to be asked', async (t) => {
  const { code, stderr } = await runProgram(['status', '--admin-socket=/nonexistent/admin.sock']);
  t.equal(code, 1);
  t.match(stderr, /^error: no broker can be asked at .*\n$/);
});

t.test('explain follows a token from its header to its answer', async (t) => {
  const { broker, explain, token } = await node(t);
  const good = token('cart');

  const before = await explain(good);
  t.equal(before.code, 0);
  t.strictSame(
    before.steps.map(({ step, ok }) => `${step} ${ok}`),
    ['header', 'claims', 'issuer', 'key', 'signature', 'session', 'answer'].map((s) => `${s} true`),
  );
  t.match(detail(before, 'claims'), /service account cart/);
  t.match(detail(before, 'session'), /^scope service-account; key .*shop\/cart.*; not there$/);
  t.equal(detail(before, 'answer'), 'asks EKS Auth');
  t.equal(
    (await broker.metrics()).get('pod_identity_broker_verified_tokens'),
    0,
    'nothing is remembered of it',
  );

  await broker.get(good);
  const after = await explain(good);
  t.equal(after.code, 0);
  t.equal(detail(after, 'signature'), 'verified before');
  t.match(detail(after, 'answer'), /^200 with the session's credentials: arn:.*role-of-cart/);

  const [header, payload, signature = ''] = good.split('.');
  const forged = await explain(`${header}.${payload}.${[...signature].toReversed().join('')}`);
  t.equal(forged.code, 1);
  t.notOk(forged.served);

  const unfit = await explain('not-a-token');
  t.equal(unfit.code, 1);
  t.match(unfit.steps[0], { step: 'header', ok: false, detail: 'it is not a JSON Web Token' });

  const other = [header, Buffer.from('{"aud":"x"}').toString('base64url'), signature].join('.');
  const wrongAudience = await explain(other);
  t.match(wrongAudience.steps[1], { step: 'claims', ok: false, detail: /audience/ });

  const stranger = token('nobody');
  await broker.get(stranger);
  const refused = await explain(stranger);
  t.match(refused.steps.at(-1), { step: 'answer', ok: false, detail: /ResourceNotFound/ });

  for (const shown of [before, after, forged, unfit, wrongAudience, refused]) {
    t.notMatch(JSON.stringify(shown), good);
    t.notMatch(JSON.stringify(shown), signature);
  }
  t.notMatch(broker.lines.join('\n'), signature);
});

t.test('explain says which issuer was expected', async (t) => {
  const { explain, token, simulator } = await node(t, [
    '--token-issuer=https://other.example/id/1',
  ]);
  const said = await explain(token('cart'));
  t.match(
    detail(said, 'issuer'),
    `${simulator.issuer}, but this cluster's is https://other.example/id/1`.slice(0, 20),
  );
  t.match(detail(said, 'session'), /^scope token, because the token cannot be verified here/);
});

t.test('a fetch that gets nowhere, and why', async (t) => {
  const { simulator, broker, ask, explain, token } = await node(t);
  simulator.faults.add({ kind: 'unavailable' });
  const cart = token('cart');
  t.equal((await broker.get(cart)).status, 503);
  const { stdout } = await ask('status');
  t.match(stdout, /^shop +cart .* fetching +ServiceUnavailableException$/m);
  const explained = await explain(cart);
  t.match(
    detail(explained, 'answer'),
    /^waits for the fetch that is under way; 503 unless that succeeds soon: so far ServiceUnavailable/,
  );
  t.equal(explained.code, 1, 'nobody is told that it would be served');
  t.match(await broker.logged(({ msg }) => /^EKS Auth is failing/.test(msg)), {
    level: 'warn',
    code: 'ServiceUnavailableException',
    reason: /unavailable/,
  });
});

t.test('explain needs a token', async (t) => {
  const missing = await runProgram(['explain', '--token-file=/nonexistent']);
  t.equal(missing.code, 2);
  t.match(missing.stderr, /^error: --token-file cannot be read: ENOENT\n$/);
  t.equal((await runProgram(['explain'])).code, 2);
});
