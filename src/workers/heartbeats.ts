import { readFileSync, readlinkSync } from 'node:fs';
import { threadId, workerData } from 'node:worker_threads';
import type { DurationMs, MonotonicMs } from '../clock.ts';

/** How often a thread gives a sign of life. */
const INTERVAL: DurationMs = 150;
/** Threads that can be told apart; ids are given in turn, so live ones never collide. */
const SLOTS = 1_024;

/** What the kernel says of a thread. */
export interface TaskState {
  /** It runs, or would if it got the CPU. */
  readonly runnable: boolean;
  /** CPU that it has used in all. */
  readonly used: DurationMs;
}

/** A thread that hangs. */
export interface SilentThread<Thread> {
  readonly thread: Thread;
  /** Since its latest sign of life was seen. */
  readonly silentFor: DurationMs;
}

/** The last that was seen of a thread. */
interface Seen {
  readonly count: number;
  readonly at: MonotonicMs;
  readonly used: DurationMs;
}

/**
 * Signs of life of worker threads: each counts up in a slot of shared memory, and says in
 * another as which task the kernel knows it.
 */
export class Heartbeats {
  /** Shared with the threads. */
  readonly buffer = new SharedArrayBuffer(2 * SLOTS * Int32Array.BYTES_PER_ELEMENT);
  readonly #counts = new Int32Array(this.buffer, 0, SLOTS);
  readonly #tasks = new Int32Array(this.buffer, SLOTS * Int32Array.BYTES_PER_ELEMENT);
  readonly #seen = new Map<number, Seen>();
  readonly #stateOf: (task: number) => TaskState | undefined;

  /**
   * @param stateOf - What the kernel says of a task of this process; undefined where it says
   *   nothing. Default asks Linux.
   */
  constructor(stateOf: (task: number) => TaskState | undefined = taskState) {
    this.#stateOf = stateOf;
  }

  /**
   * The threads that gave no sign of life for a while. One that has not given its first is
   * still loading, and not counted. Nor is one that would run but gets no CPU: on a node that is
   * short of it a thread of low priority waits long, and a new one in its place would wait longer.
   *
   * @param silence - How long is too long.
   * @param now - The time by a clock that does not jump.
   * @param excused - Take this moment as a sign of life of all.
   */
  silentFor<Thread extends { readonly threadId: number }>(
    threads: readonly Thread[],
    silence: DurationMs,
    now: MonotonicMs,
    excused: boolean,
  ): SilentThread<Thread>[] {
    const ids = new Set(threads.map((thread) => thread.threadId));
    for (const id of this.#seen.keys()) {
      if (ids.has(id)) continue;
      this.#seen.delete(id);
      // The next thread with this slot is not to be judged by it while it loads.
      Atomics.store(this.#counts, id % SLOTS, 0);
    }
    return threads.flatMap((thread) => {
      const { threadId: id } = thread;
      const count = Atomics.load(this.#counts, id % SLOTS);
      const task = Atomics.load(this.#tasks, id % SLOTS);
      const seen = this.#seen.get(id);
      if (seen === undefined || seen.count !== count || excused) {
        this.#seen.set(id, { count, at: now, used: this.#stateOf(task)?.used ?? 0 });
        return [];
      }
      const silentFor = now - seen.at;
      if (count === 0 || silentFor <= silence) return [];
      const state = this.#stateOf(task);
      // Between two signs a thread that works uses far less CPU than this; one that hangs on a
      // busy machine may need seconds to use it.
      const hangs = !state?.runnable || state.used - seen.used > silence / 4;
      return hangs ? [{ thread, silentFor }] : [];
    });
  }
}

/**
 * Called on a worker thread when all is loaded: begins to give signs of life. The first is
 * given at once, since the first task may hang before there is another.
 */
export function startHeartbeats(): void {
  const tasks = new Int32Array(buffer(), SLOTS * Int32Array.BYTES_PER_ELEMENT);
  Atomics.store(tasks, threadId % SLOTS, ownTask());
  Atomics.store(counts(), threadId % SLOTS, 1);
  setInterval(recordHeartbeat, INTERVAL).unref();
}

/**
 * On a worker thread: makes a task give signs of life too. Timers wait for all tasks that
 * have come in, so a thread that is merely busy with a thousand would seem to hang.
 */
export function withHeartbeats<In, Out>(
  task: (input: In) => Promise<Out>,
): (input: In) => Promise<Out> {
  return async (input) => {
    recordHeartbeat();
    try {
      return await task(input);
    } finally {
      recordHeartbeat();
    }
  };
}

/** On a worker thread: gives a sign of life between the steps of a task. */
export function recordHeartbeat(): void {
  Atomics.add(counts(), threadId % SLOTS, 1);
}

let shared: Int32Array | undefined;

function counts(): Int32Array {
  shared ??= new Int32Array(buffer(), 0, SLOTS);
  return shared;
}

function buffer(): SharedArrayBuffer {
  return (workerData as { heartbeats: SharedArrayBuffer }).heartbeats;
}

/** As which task the kernel knows this thread (proc_thread-self(5)); 0 where it is not Linux. */
function ownTask(): number {
  try {
    return Number(readlinkSync('/proc/thread-self').split('/').at(-1)) || 0;
  } catch {
    return 0;
  }
}

/** The kernel's clock tick in these files (sysconf(3), _SC_CLK_TCK), the same on all of Linux. */
const TICK: DurationMs = 10;

/** What proc_pid_stat(5) says of a task of this process. */
function taskState(task: number): TaskState | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/self/task/${task}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  // The second field, the name in brackets, may have blanks.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [utime, stime] = [Number(fields[11]), Number(fields[12])];
  return { runnable: fields[0] === 'R', used: (utime + stime) * TICK };
}
