import type { Test } from 'tap';
import { type Clock, type EpochMs, systemClock } from '../../src/clock.ts';
import type { RedisSharing } from '../../src/config/redis-config.ts';
import { redisTarget } from '../../src/config/redis-url.ts';
import type { RoleCredentials } from '../../src/eks-auth/assume-role.ts';
import type { Rejection } from '../../src/session-store/entries.ts';
import {
  openRedisSessionStore,
  type RedisSessionStore,
} from '../../src/session-store/redis-session-store.ts';
import type {
  HeldSession,
  KeptCredentials,
  SessionHolder,
  StoredSession,
} from '../../src/session-store/session-store.ts';
import { until } from '../support/until.ts';

const AUDIENCE = 'pods.eks.amazonaws.com';
const HOUR = 3_600_000;

/** The session of a service account. */
export function session(serviceAccount: string): StoredSession {
  return {
    key: `service-account:shop/${serviceAccount}/uid`,
    scope: 'service-account',
    namespace: 'shop',
    serviceAccount,
  };
}

/** Credentials for an hour, as EKS Auth would have given them. */
export function credentials(serviceAccount: string, now: EpochMs = Date.now()): RoleCredentials {
  return {
    accessKeyId: 'ASIA',
    secretAccessKey: 'made-up',
    sessionToken: 'made-up',
    expiresAt: now + HOUR,
    subject: { namespace: 'shop', serviceAccount },
    audience: AUDIENCE,
    associationArn: 'arn:aws:eks:us-east-1:111122223333:podidentityassociation/c/a-1',
    associationId: 'a-1',
    assumedRoleArn: `arn:aws:sts::111122223333:assumed-role/${serviceAccount}/session`,
    assumedRoleId: 'AROA:session',
    requestId: 'request',
  };
}

/** Sessions of one node, with a store. */
export interface StoreNode {
  readonly store: RedisSessionStore;
  /** Resolves when pods would be answered. */
  readonly started: Promise<void>;
  readonly held: Map<string, Omit<HeldSession, 'proven'>>;
  /** Whether what it holds counts as verified; it does, unless a test says otherwise. */
  proven: boolean;
  /** Sessions that the store has asked to be renewed. */
  readonly renewed: string[];
  /** Readings of many entries at once that have succeeded. */
  loads: number;
  /** Everything that the node had kept is there. */
  loaded: boolean;
  readonly rejected: (Rejection | 'flushed')[];
  /** Does what a broker does for a pod without credentials; EKS Auth takes no time. */
  fetch(serviceAccount: string): Promise<KeptCredentials>;
  /** Waits until Redis can be asked. */
  closed(): Promise<void>;
}

/** Opens a store that ends with the test; everything that others spread over time is done at once. */
export async function startStore(
  t: Test,
  {
    url,
    keyFile,
    nodeName = 'node-1',
    sharing = 'cluster' as RedisSharing,
    budget = 2_000,
    clock = systemClock,
    username,
    passwordFile,
  }: {
    readonly url: string;
    readonly keyFile: string;
    readonly nodeName?: string;
    readonly sharing?: RedisSharing;
    readonly budget?: number;
    readonly clock?: Clock;
    readonly username?: string;
    readonly passwordFile?: string;
  },
): Promise<StoreNode> {
  const held: StoreNode['held'] = new Map();
  const renewed: string[] = [];
  const rejected: (Rejection | 'flushed')[] = [];
  const holder: SessionHolder = {
    restore(session, kept) {
      const before = held.get(session.key);
      if ((before?.kept.fetchedAt ?? 0) < kept.fetchedAt) held.set(session.key, { session, kept });
    },
    held: () => [...held.values()].map((each) => ({ ...each, proven: node.proven })),
    find(key) {
      const found = held.get(key);
      return found && { fetchedAt: found.kept.fetchedAt, inUse: true };
    },
    end(key, fetchedAt) {
      if ((held.get(key)?.kept.fetchedAt ?? Number.POSITIVE_INFINITY) <= fetchedAt) {
        held.delete(key);
      }
    },
    renew: (key) => renewed.push(key),
    flushBefore(_choice, version) {
      for (const [key, { kept }] of held) if (kept.version < version) held.delete(key);
    },
  };
  const store = await openRedisSessionStore({
    clock,
    random: () => 0,
    config: {
      target: redisTarget(url),
      sharing,
      keyFile,
      username,
      passwordFile,
      sentinelUsername: undefined,
      sentinelPasswordFile: undefined,
      caFile: undefined,
      budget,
      nodeName,
    },
    clusterName: 'production',
    audience: AUDIENCE,
    longestFetch: 30_000,
    maxSessions: 1_000,
    holder,
    onCommand: (purpose, result) => {
      if (purpose === 'load' && result === 'ok') node.loads += 1;
    },
    onLoaded: () => {
      node.loaded = true;
    },
    onRejected: (reason) => rejected.push(reason),
    onLease: () => undefined,
    onDropped: () => undefined,
  });
  t.teardown(() => store.stop(0));
  const started = store.start();
  const node: StoreNode = {
    proven: true,
    started,
    loads: 0,
    loaded: false,
    store,
    held,
    renewed,
    rejected,
    async fetch(serviceAccount) {
      const wanted = session(serviceAccount);
      const claim = await store.claim(wanted, {
        newerThan: held.get(wanted.key)?.kept.fetchedAt ?? 0,
        patience: 30_000,
        signal: new AbortController().signal,
      });
      if (claim.kind === 'elsewhere') throw new Error('nobody has fetched it');
      const kept =
        claim.kind === 'kept'
          ? claim.kept
          : {
              role: credentials(serviceAccount, clock.now()),
              fetchedAt: clock.now(),
              version: claim.version,
            };
      held.set(wanted.key, { session: wanted, kept });
      if (claim.kind === 'call') store.keep(wanted, kept, false);
      return kept;
    },
    closed: () => until(() => store.state.circuit === 'closed', 'Redis is there'),
  };
  return node;
}

/** Waits until everything is written. */
export const written = ({ store }: Pick<StoreNode, 'store'>) =>
  until(() => store.state.waiting === 0, 'everything is written');
