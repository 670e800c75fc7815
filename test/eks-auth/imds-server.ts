import type { Test } from 'tap';
import { startServer, type TestServer } from './eks-auth-server.ts';

/** What an instance says about itself. */
export interface Instance {
  region?: string;
  /** Name of the role; without one, the service has no credentials to give. */
  role?: string;
  /** `false`: accepts and says nothing. */
  answers: boolean;
}

/** Starts an instance metadata service (IMDSv2 only) on loopback. */
export async function startImds(t: Test): Promise<TestServer & { instance: Instance }> {
  const instance: Instance = { region: 'eu-north-1', role: 'node-role', answers: true };
  const documents = (path: string): string | undefined => {
    const roles = '/latest/meta-data/iam/security-credentials/';
    if (path === '/latest/meta-data/placement/region') return instance.region;
    if (path === roles) return instance.role;
    if (instance.role === undefined || path !== `${roles}${instance.role}`) return undefined;
    return JSON.stringify({
      Code: 'Success',
      AccessKeyId: 'ASIAINSTANCE',
      SecretAccessKey: 'example-instance-secret',
      Token: 'example-instance-token',
      Expiration: new Date(Date.now() + 6 * 3_600_000).toISOString(),
    });
  };
  const server = await startServer(t);
  server.respond = (response, { method, url, headers }) => {
    if (!instance.answers) return;
    if (method === 'PUT' && url === '/latest/api/token') {
      const ttl = headers['x-aws-ec2-metadata-token-ttl-seconds'];
      response.writeHead(ttl ? 200 : 400).end('imds-token');
      return;
    }
    if (headers['x-aws-ec2-metadata-token'] !== 'imds-token') {
      response.writeHead(401).end();
      return;
    }
    const document = documents(url);
    response.writeHead(document === undefined ? 404 : 200).end(document);
  };
  return Object.assign(server, { instance });
}
