import { Piscina } from 'piscina';
import type { Verdict } from '../tokens/verify.ts';
import type { AssumeRoleOutcome, AssumeRoleTask } from './assume-role.ts';
import type { FetchDocumentTask, FetchedDocument } from './fetch-document.ts';
import type { WorkerSettings } from './settings.ts';
import type { VerifyTask } from './verify.ts';

/**
 * Tasks that one worker takes on at once. Calls to EKS Auth spend their time waiting, so
 * many fit on a thread, and a verification never queues behind them.
 */
const TASKS_PER_WORKER = 1_024;

/** Tasks that may wait for a worker; beyond that a task is refused at once. */
const MOST_QUEUED = 20_000;

/** The work that does not belong on the main thread. */
export interface Workers {
  /** Judges a token; rejects only when no worker could take it. */
  verify(task: VerifyTask): Promise<Verdict>;
  /** Calls EKS Auth once; failures of the call are part of the outcome. */
  assumeRole(task: AssumeRoleTask): Promise<AssumeRoleOutcome>;
  /** Gets a JSON document of an issuer or the API server. */
  fetchDocument(task: FetchDocumentTask): Promise<FetchedDocument>;
}

/** The piscina pool that carries out {@link Workers}' tasks on threads. */
export class WorkerPool implements Workers {
  readonly #pool: Piscina;
  readonly #up: Promise<void>;
  #ready = false;

  /**
   * Starts the threads.
   *
   * @param threads - How many; they stay until {@link close}.
   * @param settings - What each of them is given.
   */
  constructor(threads: number, settings: WorkerSettings) {
    this.#pool = new Piscina({
      // Node runs the sources as they are in a checkout, the compiled files when installed.
      filename: new URL(import.meta.url.endsWith('.ts') ? 'tasks.ts' : 'tasks.js', import.meta.url)
        .href,
      minThreads: threads,
      maxThreads: threads,
      concurrentTasksPerWorker: TASKS_PER_WORKER,
      maxQueue: MOST_QUEUED,
      // A worker that sleeps in Atomics.wait sees neither closed sockets nor timers.
      atomics: 'disabled',
      recordTiming: false,
      workerData: settings,
    });
    this.#up = this.#pool.run(undefined, { name: 'ping' }).then(() => {
      this.#ready = true;
    });
    this.#up.catch(() => undefined);
  }

  /** Whether the threads have started and take tasks. */
  get ready(): boolean {
    return this.#ready && this.#pool.threads.length > 0;
  }

  /** Resolves once {@link ready}; rejects when the threads cannot start. */
  started(): Promise<void> {
    return this.#up;
  }

  verify(task: VerifyTask): Promise<Verdict> {
    return this.#pool.run(task, { name: 'verify' });
  }

  assumeRole(task: AssumeRoleTask): Promise<AssumeRoleOutcome> {
    return this.#pool.run(task, { name: 'assumeRole' });
  }

  fetchDocument(task: FetchDocumentTask): Promise<FetchedDocument> {
    return this.#pool.run(task, { name: 'fetchDocument' });
  }

  /** Ends the threads, with whatever they are doing. */
  async close(): Promise<void> {
    await this.#pool.destroy();
  }
}
