import type { EpochMs } from '../clock.ts';
import { classify } from '../eks-auth/classify.ts';
import { type AssumeRoleFailure, NodeCredentialsError } from '../eks-auth/failure.ts';
import type { NodeCredentials, NodeCredentialsKeeper } from '../eks-auth/node-credentials.ts';
import type { AssumeRoleOutcome } from './assume-role.ts';
import type { Workers } from './pool.ts';

/** What {@link EksAuthCaller} is made from. */
export interface EksAuthCallerOptions {
  /** Make the calls. */
  readonly workers: Pick<Workers, 'assumeRole'>;
  /** The node's own, to sign with. */
  readonly credentials: Pick<
    NodeCredentialsKeeper,
    'get' | 'refresh' | 'isCurrent' | 'loadingFrom'
  >;
  /** Looks up the node's region. */
  readonly region: () => Promise<string>;
  /** Called with the service's time after each answer of the service itself. */
  readonly onServiceTime: (time: EpochMs) => void;
}

/**
 * Makes calls to EKS Auth on worker threads, signed with the node's credentials. Credentials and
 * region are looked up here, once for all threads.
 */
export class EksAuthCaller {
  readonly #options: EksAuthCallerOptions;
  #region: Promise<string> | undefined;
  #regionPending = false;

  constructor(options: EksAuthCallerOptions) {
    this.#options = options;
  }

  /** Starts to look up credentials and region; if that fails, the first call reports it. */
  warmUp(): void {
    this.#options.credentials.get().catch(() => undefined);
    this.#regionOnce().catch(() => undefined);
  }

  /** What calls wait for now, before they are made; undefined: nothing. */
  get obstacle(): AssumeRoleFailure | undefined {
    const { loadingFrom } = this.#options.credentials;
    if (loadingFrom !== undefined) {
      const message = `no AWS credentials on this node yet: waiting for ${loadingFrom}`;
      return { kind: 'node-credentials', code: 'NodeCredentialsPending', message };
    }
    if (!this.#regionPending) return undefined;
    const message = 'no AWS region yet: waiting for instance metadata';
    return { kind: 'node-credentials', code: 'RegionPending', message };
  }

  /**
   * One call to EKS Auth.
   *
   * @param token - The pod's service account token.
   * @returns Its outcome; never rejects.
   */
  async assumeRole(token: string): Promise<AssumeRoleOutcome> {
    let region: string;
    let credentials: NodeCredentials;
    try {
      region = await this.#regionOnce();
      credentials = await this.#options.credentials.get();
    } catch (error) {
      if (error instanceof NodeCredentialsError) return { ok: false, failure: classify(error) };
      const message = error instanceof Error ? error.message : String(error);
      return { ok: false, failure: { kind: 'node-credentials', code: 'NoRegion', message } };
    }
    const outcome = await this.#options.workers
      .assumeRole({ token, region, credentials })
      .catch(workerFailure);
    if (outcome.serviceTime !== undefined) this.#options.onServiceTime(outcome.serviceTime);
    if (!outcome.ok && outcome.failure.kind === 'node-credentials') {
      if (!this.#options.credentials.isCurrent(credentials)) {
        return { ...outcome, failure: { ...outcome.failure, credentialsReplaced: true } };
      }
      // For the next call, also for a retry of this one.
      this.#options.credentials.refresh().catch(() => undefined);
    }
    return outcome;
  }

  #regionOnce(): Promise<string> {
    this.#region ??= this.#lookUpRegion();
    return this.#region;
  }

  async #lookUpRegion(): Promise<string> {
    this.#regionPending = true;
    try {
      return await this.#options.region();
    } catch (error) {
      this.#region = undefined;
      throw error;
    } finally {
      this.#regionPending = false;
    }
  }
}

/** The failure of a call whose worker thread died, or that came while the broker stops. */
function workerFailure(error: unknown): AssumeRoleOutcome {
  const reason = error instanceof Error ? error.message : String(error);
  const message = `the call could not be made: ${reason}`;
  return { ok: false, failure: { kind: 'service', code: 'WorkerFailed', message } };
}
