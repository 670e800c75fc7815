import { execFile, execFileSync } from 'node:child_process';
import { promisify } from 'node:util';
import t from 'tap';
import type { Credentials } from '../../src/simulator/credential-authority.ts';
import { roleArn, simulatorFor } from './caller.ts';

const run = promisify(execFile);

/** Why the AWS CLI cannot be asked here; on CI it has to be there. */
function missingCLI(): string | false {
  try {
    execFileSync('aws', ['--version'], { stdio: 'ignore' });
    return false;
  } catch {
    return process.env.CI === 'true' ? false : 'the AWS CLI is not installed';
  }
}

t.test('the AWS CLI cannot tell', { skip: missingCLI() }, async (t) => {
  const simulator = await simulatorFor(t, { keyAlgorithm: 'RS256' });
  const aws = async (credentials: Credentials, ...words: string[]) => {
    const { stdout } = await run('aws', [...words, '--endpoint-url', simulator.url], {
      env: {
        PATH: process.env.PATH,
        HOME: process.env.HOME,
        // Whatever this machine is set up for stays out of it.
        AWS_CONFIG_FILE: '/nonexistent',
        AWS_SHARED_CREDENTIALS_FILE: '/nonexistent',
        AWS_DEFAULT_REGION: simulator.region,
        AWS_ACCESS_KEY_ID: credentials.accessKeyId,
        AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
        ...(credentials.sessionToken && { AWS_SESSION_TOKEN: credentials.sessionToken }),
        AWS_MAX_ATTEMPTS: '1',
        AWS_PAGER: '',
      },
    });
    return stdout === '' ? undefined : JSON.parse(stdout);
  };
  const node = simulator.nodeCredentials;
  const cluster = ['--cluster-name', 'simulated'];
  const subject = ['--namespace', 'default', '--service-account', 'web'];

  const created = await aws(
    node,
    ...['eks', 'create-pod-identity-association', ...cluster, ...subject],
    ...['--role-arn', roleArn('web'), '--tags', 'team=shop', '--no-disable-session-tags'],
  );
  const { associationId } = created.association;
  t.match(created.association, { roleArn: roleArn('web'), tags: { team: 'shop' } });
  const identified = [...cluster, '--association-id', associationId];
  const pod = simulator.kubelet.createPod({ namespace: 'default', serviceAccount: 'web' });
  // A process of the CLI takes a second to start; these do not depend on each other.
  const [listed, described, assumed, refused] = await Promise.all([
    aws(node, 'eks', 'list-pod-identity-associations', ...cluster, '--namespace', 'default'),
    aws(node, 'eks', 'describe-cluster', '--name', 'simulated'),
    aws(node, 'eks-auth', 'assume-role-for-pod-identity', ...cluster, '--token', pod.token),
    aws(
      { ...node, secretAccessKey: 'wrong' },
      ...['eks', 'describe-pod-identity-association', ...identified],
    ).catch((error: { stderr: string }) => error.stderr),
  ]);
  t.match(listed.associations, [{ associationId, namespace: 'default', serviceAccount: 'web' }]);
  t.equal(described.cluster.identity.oidc.issuer, simulator.issuer);
  t.match(assumed, {
    subject: { namespace: 'default', serviceAccount: 'web' },
    podIdentityAssociation: { associationId },
    credentials: { accessKeyId: /^ASIA/ },
  });
  t.match(refused, /\(InvalidSignatureException\).*signature we calculated does not match/);

  const [identity, updated] = await Promise.all([
    aws(assumed.credentials, 'sts', 'get-caller-identity'),
    aws(
      node,
      ...['eks', 'update-pod-identity-association', ...identified],
      ...['--role-arn', roleArn('other'), '--target-role-arn', roleArn('target', '444455556666')],
    ),
  ]);
  t.strictSame(identity, {
    UserId: assumed.assumedRoleUser.assumeRoleId,
    Account: '111122223333',
    Arn: assumed.assumedRoleUser.arn,
  });
  t.match(updated.association, { roleArn: roleArn('other'), externalId: String });

  const deleted = await aws(node, 'eks', 'delete-pod-identity-association', ...identified);
  t.equal(deleted.association.associationId, associationId);
  t.match(
    simulator.audit
      .events()
      .map(({ operation }) => operation)
      .toSorted((left, right) => left.localeCompare(right)),
    [
      'AssumeRoleForPodIdentity',
      'CreatePodIdentityAssociation',
      'DeletePodIdentityAssociation',
      'DescribeCluster',
      'DescribePodIdentityAssociation',
      'GetCallerIdentity',
      'ListPodIdentityAssociations',
      'UpdatePodIdentityAssociation',
    ],
  );
});
