import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import type { Test } from 'tap';
import { Succession } from '../../src/broker/succession.ts';
import { addServerOptions, serverConfig } from '../../src/config/server-options.ts';
import {
  type HandedSession,
  type HandOverActions,
  handOver,
} from '../../src/listener/hand-over.ts';
import { Metrics } from '../../src/telemetry/metrics/metrics.ts';
import { capturedLog } from '../support/captured-log.ts';
import { SessionsHarness } from '../support/sessions-harness.ts';

/** A folder of this user's alone, under a name that is short enough for a socket in it. */
export function ownFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'broker-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** A broker's side of hand-overs, with real sessions and metrics. */
export function setUp(t: Test, { folder = ownFolder(t), cluster = 'demo' } = {}) {
  const { clock, sessions } = new SessionsHarness();
  const metrics = new Metrics();
  t.teardown(() => metrics.stop());
  const { log, lines } = capturedLog();
  const adminSocket = join(folder, 'admin.sock');
  const succession = new Succession({
    clock,
    config: configOf(`--cluster-name=${cluster}`, `--admin-socket=${adminSocket}`),
    log,
    metrics: metrics.node,
    sessions,
    listener: { startProbes: async () => {}, stopProbes: async () => {}, succeeded: false },
    admin: () => ({ start: async () => {}, release: () => {}, listening: false }),
  });
  const count = async (result: string) => {
    const text = await metrics.registry.metrics();
    const line = new RegExp(
      `^pod_identity_broker_handovers_total{result="${result}"} (\\d+)$`,
      'm',
    );
    return Number(line.exec(text)?.[1]);
  };
  return { clock, lines, sessions, succession, count, adminSocket };
}

function configOf(...args: readonly string[]) {
  const command = addServerOptions(new Command('server')).exitOverride();
  return serverConfig(command.parse(args, { from: 'user' }), {});
}

/** A broker that hands over as it is told, on a socket; the test ends it. */
export async function predecessor(t: Test, adminSocket: string, actions: HandOverActions) {
  const server = createServer((request, response) => void handOver(request, response, actions));
  server.listen(adminSocket);
  await once(server, 'listening');
  const end = () => {
    server.closeAllConnections();
    server.close();
  };
  t.teardown(end);
  return end;
}

/** What a broker says that hands over, and has nothing. */
export const GIVING: HandOverActions = {
  offer: () => ({ sessions: [], readyId: undefined }),
  flush: async () => {},
  release: async () => {},
  reclaim: async () => {},
};

/** A session as it goes over. */
export const HANDED: HandedSession = {
  session: {
    key: 'service-account:shop/cart/uid',
    scope: 'service-account',
    namespace: 'shop',
    serviceAccount: 'cart',
  },
  kept: {
    role: {
      accessKeyId: 'ASIAEXAMPLE',
      secretAccessKey: 'made up',
      sessionToken: 'made up as well',
      expiresAt: Date.parse('2026-01-01T06:00:00Z'),
      subject: { namespace: 'shop', serviceAccount: 'cart' },
      audience: 'pods.eks.amazonaws.com',
      associationArn: 'arn:aws:eks:us-east-1:111122223333:podidentityassociation/c/a-1',
      associationId: 'a-1',
      assumedRoleArn: 'arn:aws:sts::111122223333:assumed-role/cart/eks-c-cart-1',
      assumedRoleId: 'AROA:eks-c-cart-1',
      requestId: 'request-1',
    },
    fetchedAt: Date.parse('2026-01-01T00:00:00Z'),
  },
};

/** Something on a socket that answers every hand-over with this line. */
export async function answering(t: Test, socketPath: string, line: string) {
  const asked = { times: 0 };
  const server = createServer((_request, response) => {
    asked.times += 1;
    response.write(`${line}\n`);
  });
  server.listen(socketPath);
  await once(server, 'listening');
  const end = () => {
    server.closeAllConnections();
    server.close();
  };
  t.teardown(end);
  return { asked, end };
}
