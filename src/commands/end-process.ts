import { setTimeout as pause } from 'node:timers/promises';
import type { DurationMs } from '../clock.ts';

/** What a thread of libuv is busy with while the request is pending: a file, or a name. */
const ON_A_THREAD = /^(?:FSReq|GetAddrInfo|GetNameInfo)/;

/** How long the last write of the log may take, which is on a thread as well. */
const LAST_WRITE: DurationMs = 200;
/** How often is looked whether it has ended. */
const LOOK_EVERY: DurationMs = 5;

/** Waits for the last write of the log, where it ends, so that nothing is left for a thread to do. */
export async function lastWrite(): Promise<void> {
  for (let waited = 0; waited < LAST_WRITE && threadsAreBusy(); waited += LOOK_EVERY) {
    await pause(LOOK_EVERY);
  }
}

/**
 * Ends the process, with a thread that hangs in a file or a name server too: `process.exit` waits
 * for it, and for a volume that does not come back for ever.
 *
 * @param code - The exit code.
 */
export function endProcess(code: number): never {
  if (threadsAreBusy()) {
    // After all other listeners, one of which writes what is left of the log.
    process.once('exit', () => endThreads(code));
  }
  process.exit(code);
}

function threadsAreBusy(): boolean {
  return process.getActiveResourcesInfo().some((resource) => ON_A_THREAD.test(resource));
}

/**
 * Puts another program in this one's place, which ends all threads of this one, and has an exit code
 * to give: with a signal there would be none.
 */
function endThreads(code: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LAST_WRITE);
  process.execve?.(process.execPath, [process.execPath, '-e', `process.exit(${code})`], {});
}
