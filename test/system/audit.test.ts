import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import t, { type Test } from 'tap';
import { startSimulator } from '../../src/simulator/simulator.ts';
import { startBroker } from '../support/broker-process.ts';

// In `service-account` scope a session carries the name of one pod only. The audit lines have
// to lead from what AWS logs (access key id, session name) back to every pod that held it.

for (const verbosity of ['info', 'error'] as const) {
  t.test(`calls that AWS logs lead back to the pods that made them, at -v ${verbosity}`, (t) =>
    leadsBack(t, verbosity),
  );
}

async function leadsBack(t: Test, verbosity: string): Promise<void> {
  const simulator = await startSimulator();
  t.teardown(() => simulator.close());
  for (const serviceAccount of ['cart', 'search']) {
    simulator.associations.create({
      namespace: 'shop',
      serviceAccount,
      roleArn: `arn:aws:iam::${simulator.account}:role/${serviceAccount}`,
    });
  }
  const broker = await startBroker({
    simulator,
    t,
    args: [`--token-issuer=${simulator.issuer}`, '-v', verbosity],
  });
  const pods = ['cart', 'cart', 'cart', 'search'].map((serviceAccount) =>
    simulator.kubelet.createPod({ namespace: 'shop', serviceAccount }),
  );
  for (const pod of pods) {
    for (let process = 0; process < 2; process += 1) {
      const { body } = await broker.get(pod.token);
      const sts = new STSClient({
        region: simulator.region,
        endpoint: simulator.url,
        credentials: {
          accessKeyId: body.AccessKeyId,
          secretAccessKey: body.SecretAccessKey,
          sessionToken: body.Token,
        },
      });
      const identity = await sts.send(new GetCallerIdentityCommand({}));
      t.match(identity.Arn, `:assumed-role/${pod.serviceAccount}/`);
      t.equal(identity.Account, body.AccountId);
    }
  }

  const handed = broker.logs().filter(({ msg }) => msg === 'credentials handed to pod');
  t.equal(handed.length, pods.length, 'one line for each pod, however often it asked');
  for (const event of simulator.audit.events({ operation: 'GetCallerIdentity' })) {
    const arn = event.callerArn as string;
    const held = handed.filter(({ assumedRole }) => assumedRole === arn).map(({ pod }) => pod);
    const account = arn.split('/')[1];
    t.same(
      held.toSorted(),
      pods
        .filter((pod) => pod.serviceAccount === account)
        .map(({ name }) => name)
        .toSorted(),
      `all pods that held ${arn}`,
    );
  }
  for (const line of handed) {
    t.match(line, {
      podUid: /^[0-9a-f-]{36}$/,
      namespace: 'shop',
      address: '127.0.0.1',
      accessKeyId: /^ASIA/,
      assumedRole: /^arn:aws:sts::\d{12}:assumed-role\/(cart|search)\//,
    });
  }
  const others = broker.logs().filter(({ msg }) => msg !== 'credentials handed to pod');
  t.equal(others.length > 0, verbosity === 'info', 'the other lines are as the verbosity says');
}
