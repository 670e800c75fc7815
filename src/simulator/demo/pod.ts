import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';

// What runs in a pod of the demo: two clients of the AWS SDK, each with a default credential
// chain of its own, as two programs of one pod have them. Nothing here knows of a broker; the
// SDK finds it by the environment that EKS gives every pod. Prints an ARN a client.

const clients = [new STSClient({}), new STSClient({})];
try {
  const identities = await Promise.all(
    clients.map((client) => client.send(new GetCallerIdentityCommand({}))),
  );
  for (const { Arn } of identities) process.stdout.write(`${Arn}\n`);
} catch (error) {
  const { name, message } = error as Error;
  process.stderr.write(`${name}: ${message}\n`);
  process.exitCode = 1;
}
for (const client of clients) client.destroy();
