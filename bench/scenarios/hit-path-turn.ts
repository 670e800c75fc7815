import { BrokenRunError } from '../harness/broken-run.ts';
import type { Cores } from '../harness/cores.ts';
import {
  busyPart,
  busySeconds,
  coreTicks,
  cpuMicroseconds,
  family,
  ownMicroseconds,
  wantedMicroseconds,
} from '../harness/process-stats.ts';
import type { HttpLoad, HttpLoadResult } from '../load/http-load.ts';
import type { Address } from '../load/one-try.ts';

/** A core is full from here on: what is left is the clock's tick and the kernel's own. */
const FULL = 0.97;
/** A server that wants less of its core than that could have answered more. */
const SERVER_FULL = 0.93;

/** Who takes turns: our program as it is and with more turned on, and others. */
export type ServerName = 'broker' | 'traced' | 'redis' | 'token' | 'bare' | 'nginx' | 'peer';

/** A server whose hits are counted. */
export interface HitServer {
  readonly name: ServerName;
  readonly address: Address;
  /** Undefined for a server that somebody else has started. */
  readonly pid: number | undefined;
  /** Bytes of an answer, headers included; all are the same. Undefined where that is not known. */
  readonly answerBytes: number | undefined;
}

/** One turn of one server. */
export interface HitTurn extends HttpLoadResult {
  /** Those that were answered with credentials. */
  readonly requestsPerSecond: number;
  /** CPU time that the server spent on a request; undefined where its process is not known. */
  readonly cpuMicroseconds: number | undefined;
  /** How busy the two cores were, whoever it was that used them. */
  readonly targetBusy: number | undefined;
  readonly loadBusy: number | undefined;
  /** Part of one core that went to processes which have no part in this. */
  readonly disturbance: number | undefined;
  /** The load's core was full and the server idled: requests a second say nothing about it. */
  readonly boundByLoad: boolean;
}

/**
 * Loads a server for one turn.
 *
 * @throws BrokenRunError when a request failed or an answer was not as long as it has to be;
 *   what a peer refuses or fails is only counted.
 */
export async function hitTurn(
  server: HitServer,
  load: HttpLoad,
  run: (load: HttpLoad) => Promise<HttpLoadResult>,
  cores: Cores | undefined,
): Promise<HitTurn> {
  const pids = server.pid === undefined ? undefined : family(server.pid);
  const before = readings(pids, cores);
  const result = await run(load);
  const after = readings(pids, cores);
  const { requests, failed, refused, bytes, seconds } = result;
  if ((failed > 0 || refused > 0 || requests === 0) && server.name !== 'peer') {
    throw new BrokenRunError(
      `${server.name}: of ${requests} requests ${failed} failed, ${refused} were refused`,
    );
  }
  const busy = {
    targetBusy: before.target && after.target && busyPart(before.target, after.target),
    loadBusy: before.load && after.load && busyPart(before.load, after.load),
  };
  checkBytes(server, requests, bytes);
  return {
    ...result,
    requestsPerSecond: Math.max(0, requests - refused) / seconds,
    cpuMicroseconds:
      pids === undefined || requests === 0 ? undefined : (after.cpu - before.cpu) / requests,
    ...busy,
    disturbance: disturbance(before, after, seconds),
    boundByLoad: isBoundByLoad({
      ...busy,
      ownBusy: serverBusy(before, after, seconds),
    }),
  };
}

/**
 * Whether the load's core was full while the server could have done more.
 *
 * @param busy - Parts of 1. `ownBusy` is how much the server wanted its core, whether or not
 *   others left it to it; where that is not known, what its whole core did counts.
 */
export function isBoundByLoad(busy: {
  readonly loadBusy: number | undefined;
  readonly targetBusy: number | undefined;
  readonly ownBusy: number | undefined;
}): boolean {
  const server = busy.ownBusy ?? busy.targetBusy;
  return (busy.loadBusy ?? 0) >= FULL && server !== undefined && server < SERVER_FULL;
}

function readings(pids: readonly number[] | undefined, cores: Cores | undefined) {
  return {
    cpu: pids === undefined ? 0 : cpuMicroseconds(pids),
    wanted: pids && wantedMicroseconds(pids),
    ours: ownMicroseconds(),
    target: cores && coreTicks(cores.target),
    load: cores && coreTicks(cores.load),
  };
}

type Readings = ReturnType<typeof readings>;

/** How much the busiest of the server's processes wanted its core. */
function serverBusy(before: Readings, after: Readings, seconds: number): number | undefined {
  const wanted = after.wanted?.map((at, index) => at - (before.wanted?.[index] ?? at));
  return wanted && Math.max(...wanted) / 1e6 / seconds;
}

/** What the two cores did besides the server and the load. */
function disturbance(before: Readings, after: Readings, seconds: number): number | undefined {
  if (!before.target || !after.target || !before.load || !after.load) return undefined;
  const busy = busySeconds(before.target, after.target) + busySeconds(before.load, after.load);
  const ours = (after.cpu - before.cpu + after.ours - before.ours) / 1e6;
  return Math.max(0, busy - ours) / seconds;
}

/** Every answer is equally long, so their sum tells whether one was another. */
function checkBytes({ name, answerBytes }: HitServer, requests: number, bytes: number): void {
  if (answerBytes === undefined) return;
  // Answers that were still under way at the end count as bytes and not as requests.
  const most = answerBytes * (requests + 1_000);
  if (bytes < answerBytes * requests || bytes > most) {
    throw new BrokenRunError(`${name}: ${bytes} bytes in ${requests} answers of ${answerBytes}`);
  }
}
