import type { Clock, DurationMs, Timer } from '../clock.ts';
import type { ApiServerAccess } from '../kubernetes/access.ts';
import type { Log } from '../telemetry/log.ts';
import type { Workers } from '../workers/pool.ts';
import type { KeyRing } from './key-ring.ts';
import { issuerOfApiServer } from './key-sources.ts';

/** How often the API server is asked until it has answered. */
const RETRY_INTERVAL: DurationMs = 5_000;

/** What {@link IssuerSearch} is made from. */
export interface IssuerSearchOptions {
  /** Is told what was found. */
  readonly keyRing: KeyRing;
  readonly workers: Pick<Workers, 'fetchDocument'>;
  /** Undefined: there is no way to it. */
  readonly apiServer: ApiServerAccess | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Finds out whose tokens are believed: the issuer that was given; else the one that the API
 * server names; else the one of an earlier run, until EKS Auth accepts another's token; else the
 * one of the first token that EKS Auth accepts. Never one that only a token has named.
 */
export class IssuerSearch {
  readonly #options: IssuerSearchOptions;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(options: IssuerSearchOptions) {
    this.#options = options;
  }

  /**
   * Begins to search. Requests wait for its first outcome as they wait for the first keys.
   *
   * @param given - The issuer that was given, if any.
   * @param workersUp - What to wait for first: sources have little time to answer, and requests
   *   little patience, which must not go by while threads still load. Default is nothing.
   */
  start(given: string | undefined, workersUp: Promise<void> = Promise.resolve()): void {
    const { keyRing } = this.#options;
    keyRing.waitFor(workersUp.then(() => this.#start(given)));
  }

  stop(): void {
    this.#stopped = true;
    this.#options.clock.clearTimeout(this.#timer);
  }

  async #start(given: string | undefined): Promise<void> {
    const { keyRing, apiServer, log } = this.#options;
    keyRing.startWait();
    const kept = await keyRing.recall();
    if (given !== undefined) await keyRing.useIssuer(given);
    else if (apiServer !== undefined) await this.#askApiServer(apiServer, true, kept);
    else if (kept !== undefined) await keyRing.useIssuer(kept, { remembered: true });
    else log.info('the token issuer is taken from the first token that EKS Auth accepts');
  }

  async #askApiServer(apiServer: ApiServerAccess, first: boolean, kept?: string): Promise<void> {
    const { keyRing, workers, clock, log } = this.#options;
    if (this.#stopped || keyRing.settled) return;
    try {
      await keyRing.useIssuer(await issuerOfApiServer(workers, apiServer));
    } catch (error) {
      if (first) log.warn({ reason: (error as Error).message }, 'issuer is not known yet');
      this.#timer = clock.setTimeout(
        () => void this.#askApiServer(apiServer, false),
        RETRY_INTERVAL,
      );
      this.#timer.unref();
      // While the API server is away, what it said to an earlier run serves.
      if (kept !== undefined) await keyRing.useIssuer(kept, { remembered: true });
    }
  }
}
