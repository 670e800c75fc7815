import { setFlagsFromString } from 'node:v8';
import type { Worker } from 'node:worker_threads';
import { Piscina } from 'piscina';
import type { Clock, DurationMs, MonotonicMs } from '../clock.ts';
import type { GetRequest } from '../http/get-request.ts';
import type { Log } from '../telemetry/log.ts';
import type { ApiOutcome, ApiRequestTask } from './api-request.ts';
import type { ApiStreamBegun, ApiStreamTask } from './api-stream.ts';
import type { AssumeRoleOutcome, AssumeRoleTask } from './assume-role.ts';
import type { FetchedDocument } from './fetch-document.ts';
import { Heartbeats } from './heartbeats.ts';
import type { WorkerSettings } from './settings.ts';
import type { TimedVerdict, VerifyResult } from './verify.ts';
import { type Verification, VerifyBatches } from './verify-batches.ts';

/**
 * Tasks that one worker takes on at once. Calls to EKS Auth spend their time waiting, so
 * many fit on a thread, and a verification never queues behind them.
 */
const TASKS_PER_WORKER = 1_024;
/** Tasks that may wait for a worker; beyond that a task is refused at once. */
const MAX_QUEUED = 20_000;
/** How often a task is tried whose thread died under it. */
const MAX_TRIES = 3;
/** Memory of one thread's objects; one that needs more is replaced. */
const MAX_HEAP_MB = 128;
/**
 * Size of a semi-space of a thread's young generation, MiB. Tasks allocate little at a time; what
 * the threads do not take is left to the main thread (the launcher's `--max-semi-space-size`),
 * where hits wait for each collection.
 */
const SEMI_SPACE_MB = 1;
/** How often the threads are looked at. */
const WATCH_INTERVAL: DurationMs = 200;
/** After how long without a sign of life a thread is replaced. */
const MAX_SILENCE: DurationMs = 600;

/** The work that does not belong on the main thread. */
export interface Workers {
  /** Judges a token; rejects only when no worker could. */
  verify(request: Verification): Promise<TimedVerdict>;
  /** Calls EKS Auth once; failures of the call are part of the outcome. */
  assumeRole(task: AssumeRoleTask): Promise<AssumeRoleOutcome>;
  /** Gets a JSON document of an issuer or the API server. */
  fetchDocument(request: GetRequest): Promise<FetchedDocument>;
  /** Reads or patches an object of the API server; failures of the request are in the outcome. */
  apiRequest(task: ApiRequestTask): Promise<ApiOutcome>;
  /** Begins a GET of the API server, whose answer comes through the task's port. */
  apiStream(task: ApiStreamTask): Promise<ApiStreamBegun>;
}

/** What {@link WorkerPool} is made from. */
export interface WorkerPoolOptions {
  /** How many threads; they stay until the pool is closed. */
  readonly threads: number;
  /** What each thread starts with. */
  readonly settings: Omit<WorkerSettings, 'heartbeats'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Called for each thread that had to be replaced. */
  readonly onReplaced: () => void;
  /** The file that the threads run. Default is the tasks of this folder. */
  readonly tasks?: URL;
}

/**
 * The piscina pool that carries out {@link Workers}' tasks on threads. Threads that die or
 * hang are replaced, and what they were doing is done again.
 */
export class WorkerPool implements Workers {
  readonly #options: WorkerPoolOptions;
  readonly #heartbeats = new Heartbeats();
  readonly #batches: VerifyBatches;
  #pool: Piscina;
  #up: Promise<void>;
  #ready = false;
  #closed = false;
  #watchedAt: MonotonicMs;

  /** Starts the threads. */
  constructor(options: WorkerPoolOptions) {
    this.#options = options;
    this.#batches = new VerifyBatches(
      (task, tries) => this.#run<readonly VerifyResult[] | undefined>('verify', task, tries),
      options.threads,
    );
    this.#pool = this.#create();
    this.#up = this.#started();
    // Whoever waits for it hears of it; a start that fails earlier closes the pool unheard.
    this.#up.catch(() => undefined);
    this.#watchedAt = options.clock.elapsed();
    this.#watch();
  }

  /** Whether the threads have started and take tasks. */
  get ready(): boolean {
    return this.#ready && this.#pool.threads.length > 0;
  }

  /** The share of the threads' time that their tasks took; calls that wait count as well. */
  get utilization(): number {
    return this.#pool.utilization;
  }

  /** Tasks that wait for a thread. */
  get waiting(): number {
    return this.#pool.queueSize;
  }

  /** Resolves once {@link ready}; rejects when the threads cannot start. */
  started(): Promise<void> {
    return this.#up;
  }

  verify(request: Verification): Promise<TimedVerdict> {
    return this.#batches.verify(request);
  }

  assumeRole(task: AssumeRoleTask): Promise<AssumeRoleOutcome> {
    return this.#run('assumeRole', task);
  }

  fetchDocument(request: GetRequest): Promise<FetchedDocument> {
    return this.#run('fetchDocument', request);
  }

  apiRequest(task: ApiRequestTask): Promise<ApiOutcome> {
    return this.#run('apiRequest', task);
  }

  apiStream(task: ApiStreamTask): Promise<ApiStreamBegun> {
    // A port can be given away only once. Its type in piscina is that of another overload of
    // `postMessage` than the one that it calls.
    const transferList = [task.port] as never;
    return this.#pool.run(task, { name: 'apiStream', transferList });
  }

  /** Ends the threads, with whatever they are doing. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#pool.destroy();
  }

  /** Does a task; again where its thread died, since that need not be the task's doing. */
  async #run<T>(name: string, task: unknown, most = MAX_TRIES): Promise<T> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#pool.run(task, { name });
      } catch (error) {
        if (this.#closed || tries >= most) throw error;
        this.#options.log.debug(
          { task: name, reason: (error as Error).message },
          'retrying task after its worker died',
        );
      }
    }
  }

  #create(): Piscina {
    const { threads, settings, tasks, clock, log } = this.#options;
    // Node runs the sources as they are in a checkout, and the bundle when built.
    const own = new URL(import.meta.url.endsWith('.ts') ? 'tasks.ts' : 'tasks.js', import.meta.url);
    // V8 reads this flag whenever it makes a heap: the main thread's stays as it is. A flag of the
    // command line would override the resource limit of the same name.
    setFlagsFromString(`--max-semi-space-size=${SEMI_SPACE_MB}`);
    const pool = new Piscina({
      filename: (tasks ?? own).href,
      minThreads: threads,
      maxThreads: threads,
      concurrentTasksPerWorker: TASKS_PER_WORKER,
      maxQueue: MAX_QUEUED,
      // A worker that sleeps in Atomics.wait sees neither closed sockets nor timers.
      atomics: 'disabled',
      resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MB },
      workerData: { ...settings, heartbeats: this.#heartbeats.buffer } satisfies WorkerSettings,
    });
    const lostAt: MonotonicMs[] = [];
    pool.on('workerDestroy', () => {
      if (this.#closed) return;
      lostAt.push(clock.elapsed());
      this.#options.onReplaced();
    });
    // Of the first threads piscina tells at once, of those in their place when they take tasks.
    pool.on('workerCreate', () => {
      const since = lostAt.shift();
      if (since === undefined) return;
      const durationMs = Math.round(clock.elapsed() - since);
      log.info({ durationMs }, 'worker thread replaced');
    });
    // A thread that is ended while it still starts fails too; that is no news when closing.
    pool.on('error', (error: Error) => {
      if (!this.#closed) log.error({ reason: error.message }, 'worker thread failed');
    });
    return pool;
  }

  async #started(): Promise<void> {
    await this.#pool.run(undefined, { name: 'ping' });
    this.#ready = true;
  }

  /** Looks after the threads: ends those that hang, and the pool when it has given up. */
  #watch(): void {
    const { clock, threads, log } = this.#options;
    clock
      .setTimeout(() => {
        if (this.#closed) return;
        const now = clock.elapsed();
        // When this thread was held up itself, the others may have been as well.
        const late = now - this.#watchedAt > 2 * WATCH_INTERVAL;
        this.#watchedAt = now;
        const known = this.#pool.threads as Worker[];
        const silent = this.#heartbeats.silentFor(known, MAX_SILENCE, now, late);
        for (const { thread, silentFor } of silent) {
          const fields = { thread: thread.threadId, silentMs: Math.round(silentFor) };
          log.error(fields, 'worker thread hangs; replacing it');
          void thread.terminate();
        }
        // A thread that dies while it starts makes piscina give up for good.
        if (this.#ready && known.length < threads) this.#restart();
        this.#watch();
      }, WATCH_INTERVAL)
      .unref();
  }

  #restart(): void {
    this.#options.log.error('worker threads are gone; starting new ones');
    this.#ready = false;
    const old = this.#pool;
    this.#pool = this.#create();
    this.#up = this.#started();
    this.#up.catch((error: unknown) => {
      this.#options.log.error({ reason: String(error) }, 'worker threads cannot start');
      this.#ready = true;
    });
    void old.destroy();
  }
}
