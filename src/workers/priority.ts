import { setPriority } from 'node:os';

/**
 * How far worker threads stand back for the main thread where both want one core: at 5 they get a
 * quarter of it (sched(7): each step is about a factor of 1.25). The CPU that a DaemonSet asks
 * for is often no more than that core.
 */
const NICE = 5;

/**
 * On a worker thread: lowers its priority. Threads have one each on Linux, where 0 stands for the
 * calling one (setpriority(2), "C library/kernel differences"); elsewhere for the whole process.
 */
export function lowerPriority(): void {
  if (process.platform !== 'linux') return;
  setPriority(0, NICE);
}
