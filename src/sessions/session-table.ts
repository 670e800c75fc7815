import type { ServedCredentials } from './served-credentials.ts';
import type { Session } from './session.ts';

/** The node's sessions by key, in the order of their use as far as they hold credentials. */
export class SessionTable {
  readonly #byKey = new Map<string, Session>();
  #held = 0;
  #uses = 0;

  /** Sessions that hold credentials. */
  get held(): number {
    return this.#held;
  }

  get(key: string): Session | undefined {
    return this.#byKey.get(key);
  }

  /** All sessions, in no particular order. */
  all(): IterableIterator<Session> {
    return this.#byKey.values();
  }

  add(session: Session): void {
    this.#byKey.set(session.key, session);
  }

  /** A request has come for a session. */
  use(session: Session): void {
    this.#uses += 1;
    session.usedAt = this.#uses;
    session.usedSinceFetch = true;
  }

  /** Puts credentials into a session; no request has come for them yet. */
  hold(session: Session, credentials: ServedCredentials): void {
    if (session.credentials === undefined) this.#held += 1;
    session.credentials = credentials;
    this.use(session);
    session.usedSinceFetch = false;
  }

  /** Of the sessions that hold credentials, the least recently used. */
  leastRecentlyUsed(): Session | undefined {
    let oldest: Session | undefined;
    for (const session of this.#byKey.values()) {
      if (session.credentials === undefined) continue;
      if (oldest === undefined || session.usedAt < oldest.usedAt) oldest = session;
    }
    return oldest;
  }

  /** Takes the credentials out of a session. */
  release(session: Session): void {
    if (session.credentials !== undefined) this.#held -= 1;
    session.credentials = undefined;
  }

  /** Takes out a session with its credentials; another one with its key stays. */
  remove(session: Session): void {
    this.release(session);
    if (this.#byKey.get(session.key) === session) this.#byKey.delete(session.key);
  }
}
