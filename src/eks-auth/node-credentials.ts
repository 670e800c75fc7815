import type { Clock, DurationMs, EpochMs, Timer } from '../clock.ts';
import { scrub } from '../telemetry/scrub.ts';
import { CredentialChainError, NodeCredentialsError } from './failure.ts';

/** AWS credentials of the node itself: what calls to EKS Auth are signed with. */
export interface NodeCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  /** Absent where they do not expire, or do not say when. */
  readonly expiresAt?: EpochMs;
}

/** Credentials with where they came from. */
export interface LoadedCredentials extends NodeCredentials {
  /**
   * Whether they come from the instance or container metadata service, which the default
   * chain asks last, when the environment and the shared files have none.
   */
  readonly remote: boolean;
}

/** Input of {@link NodeCredentialsKeeper}. */
export interface NodeCredentialsOptions {
  readonly clock: Clock;
  /** Reads the credentials anew; `loadNodeCredentials` in production. */
  readonly load: () => Promise<LoadedCredentials>;
  /** Read them anew every minute (`--rotate-credentials`). Default is `false`. */
  readonly rotate?: boolean | undefined;
}

/** As in the SDKs: from then on a replacement is looked for. */
const RENEW_BEFORE: DurationMs = 5 * 60_000;
const ROTATE_EVERY: DurationMs = 60_000;
/** Between two loads, whatever asks for them. */
const LOAD_EVERY: DurationMs = 1_000;
/** The slowest chain (IMDS that answers at the last moment, a credential process) fits in. */
const LOAD_TIMEOUT: DurationMs = 15_000;

/**
 * The node's credentials, kept for the whole process on the main thread.
 *
 * `empty → loading → fresh → renewing (still given out) → expired`; a load that fails leaves
 * credentials that have not expired in place.
 */
export class NodeCredentialsKeeper {
  readonly #clock: Clock;
  readonly #load: () => Promise<LoadedCredentials>;
  readonly #rotate: boolean;
  #current: LoadedCredentials | undefined;
  #failure: NodeCredentialsError | undefined;
  #loading: Promise<void> | undefined;
  #lastLoad: DurationMs = Number.NEGATIVE_INFINITY;
  #rotation: Timer | undefined;

  constructor(options: NodeCredentialsOptions) {
    this.#clock = options.clock;
    this.#load = options.load;
    this.#rotate = options.rotate ?? false;
  }

  /** Begins to read the credentials every minute, if they are to be rotated. */
  start(): void {
    if (!this.#rotate || this.#rotation !== undefined) return;
    this.#rotation = this.#clock.setTimeout(() => {
      this.#rotation = undefined;
      void this.#reload();
      this.start();
    }, ROTATE_EVERY);
    this.#rotation.unref();
  }

  /** Ends what {@link start} began. */
  stop(): void {
    this.#clock.clearTimeout(this.#rotation);
    this.#rotation = undefined;
  }

  /** The credentials as they are now, without waiting; `undefined` if there are none. */
  get current(): NodeCredentials | undefined {
    const { expiresAt = Number.POSITIVE_INFINITY } = this.#current ?? { expiresAt: 0 };
    return expiresAt > this.#clock.now() ? this.#current : undefined;
  }

  /** Why the last load failed; `undefined` once one has succeeded. */
  get failure(): NodeCredentialsError | undefined {
    return this.#failure;
  }

  /**
   * Gives the credentials. Waits only where there are none; in their last five minutes they
   * are given out while a replacement is looked for.
   *
   * @throws NodeCredentialsError saying why there are none.
   */
  async get(): Promise<NodeCredentials> {
    const known = this.current;
    if (known === undefined) return await this.refresh();
    if (known.expiresAt !== undefined && known.expiresAt - this.#clock.now() < RENEW_BEFORE) {
      void this.#reload();
    }
    return known;
  }

  /**
   * Reads the credentials anew, for instance after EKS Auth did not accept them: at most
   * once a second, and once for all who ask meanwhile. Where that fails, or is not due yet,
   * gives the ones at hand.
   *
   * @throws NodeCredentialsError if there are none.
   */
  async refresh(): Promise<NodeCredentials> {
    await this.#reload();
    const known = this.current;
    if (known !== undefined) return known;
    throw this.#failure ?? new NodeCredentialsError('AWS credentials of this node have expired');
  }

  #reload(): Promise<void> {
    if (this.#loading !== undefined) return this.#loading;
    const now = this.#clock.elapsed();
    if (now - this.#lastLoad < LOAD_EVERY) return Promise.resolve();
    this.#lastLoad = now;
    this.#loading = this.#loadOnce().finally(() => {
      this.#loading = undefined;
    });
    return this.#loading;
  }

  async #loadOnce(): Promise<void> {
    try {
      const loaded = await this.#bounded(this.#load());
      this.#failure = undefined;
      if (!this.#isBeingRewritten(loaded)) this.#current = loaded;
    } catch (cause) {
      this.#failure = new NodeCredentialsError(
        `no AWS credentials on this node: ${scrub(cause instanceof Error ? cause.message : String(cause))}`,
        { cause },
      );
    }
  }

  /**
   * Where credentials came from a file, and now come from the metadata service only, the file
   * is most likely being rewritten: what came from it stays until it expires.
   */
  #isBeingRewritten(loaded: LoadedCredentials): boolean {
    return loaded.remote && this.current !== undefined && this.#current?.remote === false;
  }

  #bounded<Value>(work: Promise<Value>): Promise<Value> {
    const { promise, resolve, reject } = Promise.withResolvers<Value>();
    const timer = this.#clock.setTimeout(
      () => reject(new CredentialChainError(`no source answered within ${LOAD_TIMEOUT} ms`)),
      LOAD_TIMEOUT,
    );
    work.then(resolve, reject);
    return promise.finally(() => this.#clock.clearTimeout(timer));
  }
}
