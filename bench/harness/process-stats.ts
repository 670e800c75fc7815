import { readFileSync } from 'node:fs';

/** Clock ticks a second in `/proc`; 100 on every Linux that Node runs on (USER_HZ). */
const TICKS = 100;

/** CPU time that processes have used so far, all threads, user and system, in microseconds. */
export function cpuMicroseconds(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const fields = statFields(`/proc/${pid}/stat`);
    // utime and stime: fields 14 and 15 of proc(5), counted here from the one behind `comm`.
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return (ticks / TICKS) * 1e6;
}

/** CPU time of this process and of its children that have ended, in microseconds. */
export function ownMicroseconds(): number {
  const fields = statFields('/proc/self/stat').slice(11, 15).map(Number);
  return (fields.reduce((sum, ticks) => sum + ticks, 0) / TICKS) * 1e6;
}

/**
 * Time in which the main thread of each process ran, or could have run and waited for its core,
 * in microseconds. Undefined where the kernel does not tell.
 *
 * @see https://docs.kernel.org/scheduler/sched-stats.html
 */
export function wantedMicroseconds(pids: readonly number[]): number[] | undefined {
  try {
    return pids.map((pid) => {
      const [ran, waited] = readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ').map(Number);
      return ((ran ?? 0) + (waited ?? 0)) / 1_000;
    });
  } catch {
    return undefined;
  }
}

/** Resident memory of a process now, in KiB. */
export function residentKiB(pid: number): number {
  return statusField(pid, 'VmRSS');
}

/** The most memory that a process has ever had resident, in KiB. */
export function peakResidentKiB(pid: number): number {
  return statusField(pid, 'VmHWM');
}

/** A process and its children, such as nginx's master and worker. */
export function family(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return [pid, ...(children === '' ? [] : children.split(' ').map(Number))];
}

/** What a core has done since the machine started, in ticks. */
export interface CoreTicks {
  readonly busy: number;
  readonly all: number;
}

/** Reads a core's counters. */
export function coreTicks(core: number): CoreTicks {
  const line = readFileSync('/proc/stat', 'utf8')
    .split('\n')
    .find((text) => text.startsWith(`cpu${core} `));
  const ticks = (line ?? '').split(/\s+/).slice(1, 9).map(Number);
  const all = ticks.reduce((sum, value) => sum + value, 0);
  const [idle = 0, waiting = 0] = [ticks[3], ticks[4]];
  return { busy: all - idle - waiting, all };
}

/** Seconds that a core was busy between two readings. */
export function busySeconds(from: CoreTicks, to: CoreTicks): number {
  return (to.busy - from.busy) / TICKS;
}

/** How busy a core was between two readings, from 0 to 1. */
export function busyPart(from: CoreTicks, to: CoreTicks): number {
  return (to.busy - from.busy) / Math.max(1, to.all - from.all);
}

function statFields(path: string): string[] {
  const text = readFileSync(path, 'utf8');
  // The name, in brackets, may hold anything.
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

function statusField(pid: number, name: string): number {
  const match = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(
    readFileSync(`/proc/${pid}/status`, 'utf8'),
  );
  return Number(match?.[1] ?? Number.NaN);
}
