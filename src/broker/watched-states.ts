import type { Clock, DurationMs } from '../clock.ts';
import type { RedisSessionStore } from '../session-store/redis-session-store.ts';
import { type FetchFailure, isTransient } from '../sessions/failure.ts';
import type { WatchedState } from '../telemetry/state-watch.ts';
import type { Components } from './components.ts';

/** How long after the last call for an unverified token the broker counts as falling back. */
const FALLBACK_WINDOW: DurationMs = 60_000;
/** How often the node's addresses are checked. */
const ADDRESS_CHECK_INTERVAL: DurationMs = 10_000;

/** How long announcements may be missing before that is logged: the connection may be reopened. */
const UNSUBSCRIBED_AFTER: DurationMs = 5_000;

/** Whether EKS Auth is called for tokens that cannot be verified on the node. */
export class TokenScopeFallback {
  readonly #clock: Clock;
  #at: DurationMs = Number.NEGATIVE_INFINITY;
  #cause = '';

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Records a call for such a token. */
  unverified(cause: string): void {
    this.#at = this.#clock.elapsed();
    this.#cause = cause;
  }

  get active(): boolean {
    return this.#clock.elapsed() - this.#at < FALLBACK_WINDOW;
  }

  /** Why the latest token could not be verified. */
  get cause(): string {
    return this.#cause;
  }
}

/** The states whose changes are logged. */
export function watchedStates(
  components: Components,
  fallback: TokenScopeFallback,
): WatchedState[] {
  return [
    pace(components),
    keys(components),
    nodeCredentials(components),
    nodeRole(components),
    tokenScope(components, fallback),
    addresses(components),
    ...(components.store === undefined
      ? []
      : [redis(components.store), announcements(components.store)]),
  ];
}

function pace({ pace, queue, sessions }: Components): WatchedState {
  return {
    read: () => pace.mode,
    changed(now) {
      if (now === 'unlimited') {
        // Also after two minutes without a call, when the quota is not known any more.
        return { level: 'info', fields: {}, message: 'calls to EKS Auth are no longer paced' };
      }
      if (now === 'recovering') {
        const fields = { waiting: queue.waiting };
        return { level: 'info', fields, message: 'EKS Auth answers again; calls are resumed' };
      }
      const fields = {
        callsPerSecond: Number(pace.rate.toFixed(1)),
        waiting: queue.waiting,
      };
      if (now === 'throttled') {
        return { level: 'warn', fields, message: 'EKS Auth is throttling; calls are slowed down' };
      }
      const failure = someFailure(sessions);
      return {
        level: 'warn',
        fields: { ...fields, code: failure?.code, reason: failure?.message },
        message: 'EKS Auth is failing; probing at a reduced rate',
      };
    },
  };
}

/** Why one of the calls has failed that say nothing about their own sessions. */
function someFailure(sessions: Components['sessions']): FetchFailure | undefined {
  for (const { fetch, lastFailure } of sessions.all()) {
    const failure = fetch?.flight.lastFailure ?? lastFailure;
    if (failure !== undefined && isTransient(failure)) return failure;
  }
  return undefined;
}

function keys({ keyRing }: Components): WatchedState {
  return {
    read: () => (keyRing.keys === undefined ? 'none' : 'usable'),
    changed(now) {
      const fields = { issuer: keyRing.issuer };
      return now === 'usable'
        ? { level: 'info', fields, message: 'tokens can be verified on this node' }
        : {
            level: 'warn',
            fields,
            message: 'tokens can no longer be verified on this node: no source confirms the keys',
          };
    },
  };
}

function nodeCredentials({ credentials }: Components): WatchedState {
  let had = false;
  return {
    read() {
      if (credentials.current !== undefined) {
        had = true;
        return 'available';
      }
      return had || credentials.failure !== undefined ? 'lost' : 'not looked for yet';
    },
    changed(now, before) {
      if (now === 'lost') {
        const reason = credentials.failure?.message ?? 'they have expired';
        const message = 'this node has no AWS credentials: EKS Auth cannot be called';
        return { level: 'error', fields: { reason }, message };
      }
      if (before !== 'lost') return undefined;
      return { level: 'info', fields: {}, message: 'this node has AWS credentials again' };
    },
  };
}

function nodeRole({ sessions }: Components): WatchedState {
  return {
    read: () => (sessions.nodeDenied ? 'denied' : 'allowed'),
    changed(now) {
      // A denial is logged where it is found, with EKS Auth's message.
      if (now === 'denied') return undefined;
      return { level: 'info', fields: {}, message: 'EKS Auth grants sessions to this node again' };
    },
  };
}

function tokenScope({ keyRing }: Components, fallback: TokenScopeFallback): WatchedState {
  return {
    read: () => (fallback.active ? 'fallen back' : 'no'),
    changed(now) {
      if (now === 'no') {
        const message = 'no token had to be judged by EKS Auth for a minute';
        return { level: 'info', fields: {}, message };
      }
      return {
        // The issuer may have to be learned from the first token: that is normal.
        level: keyRing.issuer === undefined ? 'info' : 'warn',
        fields: { cause: fallback.cause, issuer: keyRing.issuer },
        message:
          'falling back to token scope: tokens cannot be verified here, EKS Auth judges them',
      };
    },
  };
}

function addresses({ listener, clock }: Components): WatchedState {
  let complete = false;
  let readAt = Number.NEGATIVE_INFINITY;
  let bound = 0;
  return {
    read() {
      if (!complete || clock.elapsed() - readAt >= ADDRESS_CHECK_INTERVAL) {
        readAt = clock.elapsed();
        bound = listener.addressesBound;
        if (bound >= listener.addressesExpected) complete = true;
      }
      if (!complete) return 'starting';
      return bound < listener.addressesExpected ? 'lost' : 'all';
    },
    changed(now, before) {
      const fields = { bound, expected: listener.addressesExpected };
      if (now === 'lost') {
        return {
          level: 'error',
          fields,
          message: 'an address of the broker is gone from the node',
        };
      }
      if (before !== 'lost') return undefined;
      return { level: 'info', fields, message: 'all addresses of the broker are there again' };
    },
  };
}

function redis(store: RedisSessionStore): WatchedState {
  return {
    read() {
      const { circuit, untried } = store.state;
      if (circuit === 'closed') return 'available';
      // The first attempt to connect is not logged.
      return untried ? 'starting' : 'unavailable';
    },
    changed(now) {
      if (now === 'available') return { level: 'info', fields: {}, message: 'Redis is there' };
      const { reason } = store.state;
      return { level: 'warn', fields: { reason }, message: 'Redis is not used now' };
    },
  };
}

function announcements(store: RedisSessionStore): WatchedState {
  let last = 'starting';
  return {
    read() {
      const { circuit, announcements } = store.state;
      if (announcements?.heard === true) last = 'subscribed';
      // While Redis is unavailable, only that is logged.
      else if (circuit === 'closed' && (announcements?.deafFor ?? 0) > UNSUBSCRIBED_AFTER)
        last = 'unsubscribed';
      return last;
    },
    changed(now, before) {
      if (now === 'unsubscribed') {
        const reason = store.state.announcements?.reason;
        const message =
          'what other brokers announce in Redis is not heard: flushes and refusals arrive late';
        return { level: 'warn', fields: { reason }, message };
      }
      if (before !== 'unsubscribed') return undefined;
      return { level: 'info', fields: {}, message: 'other brokers are heard again' };
    },
  };
}
