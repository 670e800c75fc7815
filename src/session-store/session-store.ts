import type { DurationMs, EpochMs } from '../clock.ts';
import type { SessionScope } from '../config/config.ts';
import type { RoleCredentials } from '../eks-auth/assume-role.ts';

/** A role session as the store knows it: whose it is, and nothing of its pods' tokens. */
export interface StoredSession {
  readonly key: string;
  readonly scope: SessionScope;
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** Credentials as the store keeps them. */
export interface KeptCredentials {
  readonly role: RoleCredentials;
  readonly fetchedAt: EpochMs;
  /**
   * The store's order of events when their fetch began: a flush with a greater one is later
   * than they are. 0: there was no store.
   */
  readonly version: number;
}

/** What the store has to say to whoever is about to call EKS Auth. */
export type Claim =
  /** No call is needed. */
  | { readonly kind: 'kept'; readonly kept: KeptCredentials }
  /** This broker is to call. {@link SessionStore.keep} or `release` ends what it has taken. */
  | { readonly kind: 'call'; readonly version: number; release(): void }
  /** Another broker is calling, and the time for waiting is over. */
  | { readonly kind: 'elsewhere' };

/** How to ask for a {@link Claim}. */
export interface ClaimOptions {
  /** When what the session holds was fetched: only newer credentials help. 0: it holds none. */
  readonly newerThan: EpochMs;
  /** The longest to wait for another broker's call. */
  readonly patience: DurationMs;
  /** The session has ended: the claim is of no use any more. */
  readonly signal: AbortSignal;
}

/**
 * Why a session is revoked. `refused`: EKS Auth will not have it renewed from any node; `denied`:
 * from this node, by AccessDenied, which may be about the node's own role.
 */
export type RevokedBy = 'refused' | 'denied';

/** Whose sessions a flush lets go of; neither: everybody's. */
export interface FlushChoice {
  readonly namespace?: string | undefined;
  readonly serviceAccount?: string | undefined;
}

/** Where sessions are kept over a restart, and shared. Nothing of it ever rejects. */
export interface SessionStore {
  /**
   * What a {@link Claim} would have for its version now, or a lower one: for a fetch that is
   * made without one.
   */
  readonly version: number;
  /** Asks, before a call to EKS Auth, whether it is needed and whose it is. */
  claim(session: StoredSession, options: ClaimOptions): Promise<Claim>;
  /**
   * Keeps credentials, some time after it returns.
   *
   * @param roleChanged - They are of another role than those before them.
   */
  keep(session: StoredSession, kept: KeptCredentials, roleChanged: boolean): void;
  /**
   * EKS Auth does not renew a session: what is kept of it is of no use any more. Where it was
   * refused it ends everywhere; where it was denied, other brokers try to renew it.
   */
  revoke(session: StoredSession, kept: KeptCredentials, by: RevokedBy): void;
}

/** A session that is held in memory. */
export interface HeldSession {
  readonly session: StoredSession;
  readonly kept: KeptCredentials;
  /** A token that opens it was verified; what EKS Auth alone has judged is not kept anywhere. */
  readonly proven: boolean;
}

/** Who holds sessions in memory, as the store sees it. */
export interface SessionHolder {
  /** Takes credentials in, unless it holds newer ones. */
  restore(session: StoredSession, kept: KeptCredentials): void;
  /** Everything it holds. */
  held(): Iterable<HeldSession>;
  /** What it holds of one session, and whether somebody has asked for that since it was fetched. */
  find(key: string): { readonly fetchedAt: EpochMs; readonly inUse: boolean } | undefined;
  /** Lets go of a session, if what it holds was fetched no later than this. */
  end(key: string, fetchedAt: EpochMs): void;
  /** Renews a session soon, if what it holds was fetched no later than this. */
  renew(key: string, fetchedAt: EpochMs): void;
  /** Lets go of sessions whose fetch began before this version. */
  flushBefore(choice: FlushChoice, version: number): void;
}
