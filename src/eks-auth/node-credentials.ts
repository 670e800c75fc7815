import type { Clock, DurationMs, EpochMs, Timer } from '../clock.ts';
import { scrub } from '../telemetry/scrub.ts';
import { CredentialChainError, NodeCredentialsError } from './failure.ts';

/** The node's own AWS credentials, with which calls to EKS Auth are signed. */
export interface NodeCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  /** Absent if they do not expire, or if it is not known when. */
  readonly expiresAt?: EpochMs;
}

/** Credentials and their origin. */
export interface LoadedCredentials extends NodeCredentials {
  /**
   * Whether they come from the instance or container metadata service, which the default
   * chain asks last, when the environment and the shared files have none.
   */
  readonly remote: boolean;
}

/**
 * Loads credentials.
 *
 * @param onSource - Called with what is asked from now on, e.g. `instance metadata`.
 */
export type LoadCredentials = (onSource?: (source: string) => void) => Promise<LoadedCredentials>;

/** Input of {@link NodeCredentialsKeeper}. */
export interface NodeCredentialsOptions {
  readonly clock: Clock;
  /** Loads the credentials; of `createCredentialsLoader` in production. */
  readonly load: LoadCredentials;
  /** Load them every minute (`--rotate-credentials`). Default: `false`. */
  readonly rotate?: boolean | undefined;
  /** Called when other credentials than before have been loaded. Default: nothing. */
  readonly onReplaced?: (() => void) | undefined;
}

/** Credentials are replaced when less than this is left, as in the SDKs. */
const RENEW_BEFORE: DurationMs = 5 * 60_000;
const ROTATION_INTERVAL: DurationMs = 60_000;
/** The shortest time between two loads. */
const MIN_LOAD_INTERVAL: DurationMs = 1_000;
/** Time-out of a load; long enough for a slow IMDS or a credential process. */
const LOAD_TIMEOUT: DurationMs = 15_000;
/** How long others are looked for after {@link NodeCredentialsKeeper.refresh}: as clients wait. */
const WANTED_FOR: DurationMs = 2_000;

/**
 * The node's credentials, kept on the main thread for the whole process.
 *
 * `empty → loading → fresh → renewing (still used) → expired`; if a load fails, credentials that
 * have not expired are kept.
 */
export class NodeCredentialsKeeper {
  readonly #clock: Clock;
  readonly #load: LoadCredentials;
  readonly #rotate: boolean;
  readonly #onReplaced: () => void;
  #current: LoadedCredentials | undefined;
  #failure: NodeCredentialsError | undefined;
  #loading: Promise<void> | undefined;
  /** What the load in progress waits for. */
  #source = '';
  #lastLoad: DurationMs = Number.NEGATIVE_INFINITY;
  #rotation: Timer | undefined;
  /** Until when others than the current ones are looked for, and the next look that is not due. */
  #wantedUntil: DurationMs = Number.NEGATIVE_INFINITY;
  #nextLook: Timer | undefined;

  constructor(options: NodeCredentialsOptions) {
    this.#clock = options.clock;
    this.#load = options.load;
    this.#rotate = options.rotate ?? false;
    this.#onReplaced = options.onReplaced ?? (() => undefined);
  }

  /** Starts to load the credentials every minute, if `rotate` is set. */
  start(): void {
    if (!this.#rotate || this.#rotation !== undefined) return;
    this.#rotation = this.#clock.setTimeout(() => {
      this.#rotation = undefined;
      void this.#reload();
      this.start();
    }, ROTATION_INTERVAL);
    this.#rotation.unref();
  }

  /** Stops what {@link start} has started; no more credentials are looked for. */
  stop(): void {
    this.#clock.clearTimeout(this.#rotation);
    this.#rotation = undefined;
    this.#wanted(Number.NEGATIVE_INFINITY);
  }

  /** The current credentials; `undefined` if there are none or they have expired. */
  get current(): NodeCredentials | undefined {
    const { expiresAt = Number.POSITIVE_INFINITY } = this.#current ?? { expiresAt: 0 };
    return expiresAt > this.#clock.now() ? this.#current : undefined;
  }

  /** What is waited for while there are no credentials; `undefined` if there are, or no load runs. */
  get loadingFrom(): string | undefined {
    return this.#loading === undefined || this.current !== undefined ? undefined : this.#source;
  }

  /** Why the last load failed; `undefined` if it succeeded. */
  get failure(): NodeCredentialsError | undefined {
    return this.#failure;
  }

  /**
   * Returns the credentials. Waits only if there are none; in their last five minutes a replacement
   * is loaded in the background.
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

  /** Whether calls that are signed now are signed with these. */
  isCurrent(credentials: NodeCredentials): boolean {
    return isSame(credentials, this.current);
  }

  /**
   * Loads the credentials again, for instance after EKS Auth has rejected them, but at most once per
   * second; concurrent calls share a load. Returns the current ones if the load fails or is not due.
   *
   * Whoever rotates them may not have written the new ones yet: unless others are found, there are
   * further loads for two seconds, each as soon as it may be.
   *
   * @throws NodeCredentialsError if there are none.
   */
  async refresh(): Promise<NodeCredentials> {
    this.#wanted(this.#clock.elapsed() + WANTED_FOR);
    await this.#reload();
    const known = this.current;
    if (known !== undefined) return known;
    throw this.#failure ?? new NodeCredentialsError('AWS credentials of this node have expired');
  }

  #reload(): Promise<void> {
    if (this.#loading !== undefined) return this.#loading;
    const now = this.#clock.elapsed();
    if (now - this.#lastLoad < MIN_LOAD_INTERVAL) return Promise.resolve();
    this.#lastLoad = now;
    this.#loading = this.#loadOnce().finally(() => {
      this.#loading = undefined;
      this.#lookAgain();
    });
    return this.#loading;
  }

  #wanted(until: DurationMs): void {
    this.#wantedUntil = until;
    this.#clock.clearTimeout(this.#nextLook);
    this.#nextLook = undefined;
    this.#lookAgain();
  }

  /** Loads them as soon as that may be, while others are looked for. */
  #lookAgain(): void {
    const now = this.#clock.elapsed();
    const due = Math.max(now, this.#lastLoad + MIN_LOAD_INTERVAL);
    if (this.#loading !== undefined || this.#nextLook !== undefined || due > this.#wantedUntil) {
      return;
    }
    this.#nextLook = this.#clock.setTimeout(() => {
      this.#nextLook = undefined;
      void this.#reload();
    }, due - now);
    this.#nextLook.unref();
  }

  async #loadOnce(): Promise<void> {
    try {
      this.#source = 'the environment and the shared files';
      const loaded = await this.#withTimeout(
        this.#load((source) => {
          this.#source = source;
        }),
      );
      this.#failure = undefined;
      if (!this.#isBeingRewritten(loaded)) this.#take(loaded);
    } catch (cause) {
      this.#failure = new NodeCredentialsError(
        `no AWS credentials on this node: ${scrub(cause instanceof Error ? cause.message : String(cause))}`,
        { cause },
      );
    }
  }

  #take(loaded: LoadedCredentials): void {
    const before = this.#current;
    this.#current = loaded;
    if (isSame(loaded, before)) return;
    this.#wanted(Number.NEGATIVE_INFINITY);
    this.#onReplaced();
  }

  /**
   * If credentials came from a file, and now only the metadata service has some, the file is most
   * likely being rewritten: the file's credentials are kept until they expire.
   */
  #isBeingRewritten(loaded: LoadedCredentials): boolean {
    return loaded.remote && this.current !== undefined && this.#current?.remote === false;
  }

  #withTimeout<Value>(work: Promise<Value>): Promise<Value> {
    const { promise, resolve, reject } = Promise.withResolvers<Value>();
    const timer = this.#clock.setTimeout(
      () => reject(new CredentialChainError(`no source answered within ${LOAD_TIMEOUT} ms`)),
      LOAD_TIMEOUT,
    );
    work.then(resolve, reject);
    return promise.finally(() => this.#clock.clearTimeout(timer));
  }
}

function isSame(credentials: NodeCredentials, others: NodeCredentials | undefined): boolean {
  return (
    credentials.accessKeyId === others?.accessKeyId &&
    credentials.secretAccessKey === others.secretAccessKey &&
    credentials.sessionToken === others.sessionToken
  );
}
