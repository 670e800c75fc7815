import t from 'tap';
import { startSimulator } from '../../src/simulator/simulator.ts';
import { startBroker } from '../support/broker-process.ts';

// The existing agent's DaemonSet mounts no service account token and knows no flags of ours:
// neither the issuer nor its keys can be asked for. Sharing has to come on all the same.

t.test(
  'started as the existing chart does, it shares from the first accepted token on',
  async (t) => {
    const simulator = await startSimulator({ latency: 50 });
    t.teardown(() => simulator.close());
    const accounts = ['cart', 'checkout', 'search'];
    for (const serviceAccount of accounts) {
      simulator.associations.create({
        namespace: 'shop',
        serviceAccount,
        roleArn: `arn:aws:iam::${simulator.account}:role/${serviceAccount}`,
      });
    }
    // `args` and `env` as the chart renders them, but for addresses and ports.
    const broker = await startBroker({ simulator, args: ['-v', 'trace'], t });

    const pods = accounts.flatMap((serviceAccount) =>
      Array.from({ length: 10 }, () =>
        simulator.kubelet.createPod({ namespace: 'shop', serviceAccount }),
      ),
    );
    const answers = await Promise.all(
      pods.flatMap((pod) => [broker.get(pod.token), broker.get(pod.token)]),
    );
    t.same(new Set(answers.map(({ status }) => status)), new Set([200]));
    t.equal(simulator.counts().assumeRole.calls, 3, 'one call for each service account');
    const metrics = await broker.metrics();
    t.equal(metrics.get('pod_identity_broker_unverified_calls_total{cause="no-keys"}'), 1);
    t.equal(metrics.get('pod_identity_broker_sessions{scope="service-account"}'), 3);

    simulator.kubelet.rotateAll();
    const again = await Promise.all(pods.map((pod) => broker.get(pod.token)));
    t.same(new Set(again.map(({ status }) => status)), new Set([200]));
    t.equal(simulator.counts().assumeRole.calls, 3, 'rotated tokens cost nothing');
  },
);

t.test(
  'as long as no token was accepted, EKS Auth judges each, within a small budget',
  async (t) => {
    const simulator = await startSimulator();
    t.teardown(() => simulator.close());
    const broker = await startBroker({ simulator, t, args: ['--client-wait=500ms'] });
    const forged = Array.from({ length: 30 }, () => simulator.kubelet.mint({ foreignKey: true }));
    const answers = await Promise.all(forged.map((token) => broker.get(token)));
    t.notOk(answers.some(({ status }) => status === 200));
    const { calls } = simulator.counts().assumeRole;
    t.ok(calls >= 1 && calls <= 2, `${calls} calls for one address within half a second`);
    const waiting = answers.filter(({ status }) => status === 503);
    t.equal(waiting.length, 30 - calls);
    t.match(waiting[0]?.body, { Code: 'TokenNotVerified', message: /cannot be verified/ });
    t.ok(Number(waiting[0]?.headers['retry-after']) >= 1);
  },
);
