import {
  CreatePodIdentityAssociationCommand,
  DeletePodIdentityAssociationCommand,
  DescribeClusterCommand,
  DescribePodIdentityAssociationCommand,
  EKSClient,
  ListPodIdentityAssociationsCommand,
  paginateListPodIdentityAssociations,
  UpdatePodIdentityAssociationCommand,
} from '@aws-sdk/client-eks';
import t from 'tap';
import type { Simulator } from '../../src/simulator/simulator.ts';
import { call, roleArn, simulatorFor } from './caller.ts';

const clusterName = 'simulated';

function client(simulator: Simulator): EKSClient {
  const { accessKeyId, secretAccessKey } = simulator.nodeCredentials;
  return new EKSClient({
    endpoint: simulator.url,
    region: simulator.region,
    credentials: { accessKeyId, secretAccessKey },
    maxAttempts: 1,
  });
}

t.test('an association from beginning to end, with the JavaScript SDK', async (t) => {
  const simulator = await simulatorFor(t);
  const eks = client(simulator);
  const { cluster } = await eks.send(new DescribeClusterCommand({ name: clusterName }));
  t.match(cluster, {
    name: clusterName,
    arn: 'arn:aws:eks:us-east-1:111122223333:cluster/simulated',
    status: 'ACTIVE',
    identity: { oidc: { issuer: simulator.issuer } },
  });
  const input = {
    clusterName,
    namespace: 'default',
    serviceAccount: 'web',
    roleArn: roleArn('team/web'),
    tags: { team: 'shop' },
  };
  const { association } = await eks.send(new CreatePodIdentityAssociationCommand(input));
  t.match(association, {
    ...input,
    associationId: /^a-[a-z0-9]{17}$/,
    associationArn: /podidentityassociation\/simulated\/a-/,
    createdAt: Date,
    modifiedAt: Date,
    disableSessionTags: false,
  });
  t.ok(Math.abs((association?.createdAt?.getTime() ?? 0) - Date.now()) < 10_000);
  await t.rejects(eks.send(new CreatePodIdentityAssociationCommand(input)), {
    name: 'ResourceInUseException',
    message: `Association already exists: ${association?.associationId}`,
    $metadata: { httpStatusCode: 409 },
  });
  const named = { clusterName, associationId: association?.associationId };
  const described = await eks.send(new DescribePodIdentityAssociationCommand(named));
  t.match(described.association, input);
  const policy = JSON.stringify({ Version: '2012-10-17', Statement: [] });
  const updated = await eks.send(
    new UpdatePodIdentityAssociationCommand({
      ...named,
      targetRoleArn: roleArn('target', '444455556666'),
      disableSessionTags: true,
      policy,
    }),
  );
  t.match(updated.association, {
    roleArn: input.roleArn,
    targetRoleArn: roleArn('target', '444455556666'),
    externalId: String,
    disableSessionTags: true,
    policy,
  });
  const cleared = await eks.send(
    new UpdatePodIdentityAssociationCommand({ ...named, targetRoleArn: '' }),
  );
  t.equal(cleared.association?.targetRoleArn, undefined);
  t.equal(cleared.association?.externalId, undefined);
  const deleted = await eks.send(new DeletePodIdentityAssociationCommand(named));
  t.match(deleted.association, named);
  await t.rejects(eks.send(new DescribePodIdentityAssociationCommand(named)), {
    name: 'ResourceNotFoundException',
    $metadata: { httpStatusCode: 404, requestId: String },
  });
});

t.test('the same request token creates one association', async (t) => {
  const simulator = await simulatorFor(t);
  const eks = client(simulator);
  const input = {
    clusterName,
    namespace: 'default',
    serviceAccount: 'web',
    roleArn: roleArn('web'),
    clientRequestToken: 'once',
  };
  const first = await eks.send(new CreatePodIdentityAssociationCommand(input));
  const again = await eks.send(new CreatePodIdentityAssociationCommand(input));
  t.equal(again.association?.associationId, first.association?.associationId);
});

t.test('pages, filters, and the limit of 5,000', async (t) => {
  const simulator = await simulatorFor(t);
  const { associations } = simulator;
  for (let index = 0; index < 250; index++) {
    associations.create({
      namespace: index < 130 ? 'many' : 'rest',
      serviceAccount: `sa-${index}`,
      roleArn: roleArn('web'),
    });
  }
  const eks = client(simulator);
  const found = new Set<string | undefined>();
  let pages = 0;
  const listed = paginateListPodIdentityAssociations(
    { client: eks, pageSize: 60 },
    { clusterName, namespace: 'many' },
  );
  for await (const page of listed) {
    pages += 1;
    for (const association of page.associations ?? []) found.add(association.serviceAccount);
  }
  t.equal(pages, 3);
  t.equal(found.size, 130);
  const whole = await eks.send(new ListPodIdentityAssociationsCommand({ clusterName }));
  t.equal(whole.associations?.length, 100);
  t.type(whole.nextToken, 'string');
  const one = await eks.send(
    new ListPodIdentityAssociationsCommand({
      clusterName,
      namespace: 'rest',
      serviceAccount: 'sa-200',
    }),
  );
  t.strictSame(Object.keys(one.associations?.[0] ?? {}), [
    'clusterName',
    'namespace',
    'serviceAccount',
    'associationArn',
    'associationId',
  ]);
  const strange = new ListPodIdentityAssociationsCommand({
    clusterName,
    namespace: "a b+c/d'é*~(!)&=%",
    nextToken: whole.nextToken,
  });
  t.same((await eks.send(strange)).associations, [], 'any query can be signed');
  await t.rejects(
    eks.send(new ListPodIdentityAssociationsCommand({ clusterName, maxResults: 101 })),
    { name: 'InvalidParameterException' },
  );
  await t.rejects(
    eks.send(new ListPodIdentityAssociationsCommand({ clusterName, nextToken: 'nonsense' })),
    { name: 'InvalidParameterException' },
  );
  for (let index = associations.size; index < 5_000; index++) {
    associations.create({
      namespace: 'full',
      serviceAccount: `sa-${index}`,
      roleArn: roleArn('x'),
    });
  }
  await t.rejects(
    eks.send(
      new CreatePodIdentityAssociationCommand({
        clusterName,
        namespace: 'full',
        serviceAccount: 'one-more',
        roleArn: roleArn('x'),
      }),
    ),
    { name: 'ResourceLimitExceededException', message: /5000/ },
  );
});

t.test('parameters are checked', async (t) => {
  const simulator = await simulatorFor(t);
  simulator.roles.put(roleArn('untagged'), {
    Statement: [
      {
        Effect: 'Allow',
        Principal: { Service: 'pods.eks.amazonaws.com' },
        Action: 'sts:AssumeRole',
      },
    ],
  });
  const eks = client(simulator);
  const good = { clusterName, namespace: 'default', serviceAccount: 'web', roleArn: roleArn('a') };
  const cases: [string, object, RegExp][] = [
    ['namespace', { namespace: 'No_Good' }, /namespace/],
    ['service account', { serviceAccount: '-x' }, /serviceAccount/],
    ['no role', { roleArn: 'arn:aws:iam::111122223333:user/x' }, /Invalid role ARN/],
    ['another account’s role', { roleArn: roleArn('a', '999988887777') }, /same account/],
    ['a role without sts:TagSession', { roleArn: roleArn('untagged') }, /Trust policy/],
    ['target role', { targetRoleArn: 'nonsense' }, /Invalid target role ARN/],
    ['policy with tags', { policy: '{"Statement":[]}' }, /disableSessionTags/],
    ['policy', { policy: '{', disableSessionTags: true }, /JSON/],
    ['reserved tag', { tags: { 'AWS:x': 'y' } }, /reserved/],
    ['long tag', { tags: { k: 'v'.repeat(257) } }, /256/],
    [
      'tags',
      { tags: Object.fromEntries(Array.from({ length: 51 }, (_, i) => [`k${i}`, 'v'])) },
      /50/,
    ],
  ];
  for (const [name, change, message] of cases) {
    await t.rejects(
      eks.send(new CreatePodIdentityAssociationCommand({ ...good, ...change })),
      { name: 'InvalidParameterException', message, $metadata: { httpStatusCode: 400 } },
      name,
    );
  }
  await t.rejects(
    eks.send(new CreatePodIdentityAssociationCommand({ ...good, clusterName: 'other' })),
    { name: 'ResourceNotFoundException', message: /No cluster found for name: other/ },
  );
  t.equal(simulator.associations.size, 0);
  const path = '/clusters/simulated/pod-identity-associations';
  const body = '{';
  t.match(await call(simulator, { service: 'eks', path, body }), {
    status: 400,
    headers: { 'x-amzn-errortype': 'SerializationException' },
  });
  t.match(await call(simulator, { service: 'eks', path, method: 'PUT' }), {
    status: 404,
    headers: { 'x-amzn-errortype': 'UnknownOperationException' },
  });
});

t.test('a wrong secret is refused', async (t) => {
  const simulator = await simulatorFor(t);
  const eks = new EKSClient({
    endpoint: simulator.url,
    region: simulator.region,
    credentials: { accessKeyId: simulator.nodeCredentials.accessKeyId, secretAccessKey: 'no' },
  });
  await t.rejects(eks.send(new DescribeClusterCommand({ name: clusterName })), {
    name: 'InvalidSignatureException',
    $metadata: { httpStatusCode: 403 },
  });
});
