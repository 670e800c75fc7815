import type { DurationMs, EpochMs } from '../../src/clock.ts';
import type { AuditEvent } from '../../src/simulator/audit.ts';
import type { Findings } from './findings.ts';
import { covers, type Flush } from './operator.ts';
import { OWN } from './world.ts';

/** One call to EKS Auth, as far as meetings of calls go. */
interface Call {
  readonly from: EpochMs;
  readonly to: EpochMs;
  /** The session that it was for, by the broker's rules. */
  readonly session: string;
  readonly namespace: string;
  readonly name: string;
  readonly succeeded: boolean;
}

/** Calls for one service account that began while another one for it was under way. */
export interface DoubleFetches {
  /** For another session: of a pod with one of its own, or of the account as it was recreated. */
  readonly otherSession: number;
  /** After a flush, which does not wait for the calls that it supersedes. */
  readonly afterFlush: number;
  /** One began in the millisecond in which the other ended: the audit log cannot tell. */
  readonly unclear: number;
  /** Without a reason. */
  readonly real: number;
  /** A line about each of the first real ones. */
  readonly details: readonly string[];
}

/**
 * A call that the broker made before a flush may reach EKS Auth this much later: it has to get
 * through two threads and a connection on a machine that is busy.
 */
const ON_ITS_WAY: DurationMs = 1_000;
const DETAILS = 10;

/** All calls to EKS Auth: how they ended, and which of them met. */
export class Calls {
  readonly #byAccount = new Map<string, Call[]>();
  readonly #outcomes = new Map<string, number>();
  readonly #faults = new Map<string, number>();
  /** Calls with a token that a hostile client made up. */
  forged = 0;
  count = 0;

  /** Takes note of a call. */
  observe(event: AuditEvent, isForged: (pod: string | undefined) => boolean): void {
    if (event.fault !== undefined) {
      const name = event.service === 'issuer' ? `issuer ${event.fault}` : event.fault;
      increase(this.#faults, name);
    }
    if (event.service !== 'eks-auth') return;
    this.count += 1;
    if (isForged(event.pod)) this.forged += 1;
    const succeeded = event.status === 200 && event.errorCode === undefined;
    increase(this.#outcomes, succeeded ? 'ok' : (event.errorCode ?? String(event.status)));
    const { namespace = '', serviceAccount: name = '', serviceAccountUid, podUid } = event;
    const account = `${namespace}/${name}`;
    const known = this.#byAccount.get(account) ?? [];
    this.#byAccount.set(account, known);
    known.push({
      from: event.time,
      to: event.time + event.duration,
      session: `${account}/${serviceAccountUid}${namespace === OWN ? `/${podUid}` : ''}`,
      namespace,
      name,
      succeeded,
    });
  }

  /** How calls ended, the most frequent first. */
  outcomes(): [outcome: string, count: number][] {
    return sorted(this.#outcomes);
  }

  /** Which faults calls met, the most frequent first. */
  faults(): [fault: string, count: number][] {
    return sorted(this.#faults);
  }

  /** Successful calls of the shared sessions: how often the least and the most renewed was had. */
  fetches(): { readonly fewest: number; readonly most: number } {
    const counts = [...this.#byAccount]
      .filter(([account]) => !account.startsWith(`${OWN}/`))
      .map(([, calls]) => calls.filter(({ succeeded }) => succeeded).length);
    return { fewest: Math.min(...counts), most: Math.max(...counts) };
  }

  /** Notes it if a shared session was fetched less than `least` times: it lived through too little. */
  checkFetches(least: number, findings: Findings): void {
    const { fewest } = this.fetches();
    if (fewest < least) findings.add('a session was fetched too rarely', { fewest, least });
  }

  /** The calls that met; each that began while others were under way counts once. */
  doubleFetches(flushes: readonly Flush[]): DoubleFetches {
    const found = { otherSession: 0, afterFlush: 0, unclear: 0, real: 0, details: [] as string[] };
    for (const calls of this.#byAccount.values()) {
      const ordered = calls.toSorted((left, right) => left.from - right.from);
      let underWay: Call[] = [];
      for (const call of ordered) {
        underWay = underWay.filter(({ to }) => to >= call.from);
        const meeting = underWay.filter(({ to }) => to > call.from);
        const same = meeting.filter(({ session }) => session === call.session);
        const unexplained = same.find((other) => !flushedBetween(other, call, flushes));
        if (unexplained !== undefined) {
          found.real += 1;
          if (found.details.length < DETAILS) {
            found.details.push(describe(unexplained, call, flushes));
          }
        } else if (same.length > 0) found.afterFlush += 1;
        else if (meeting.length > 0) found.otherSession += 1;
        else if (underWay.length > 0) found.unclear += 1;
        underWay.push(call);
      }
    }
    return found;
  }
}

function flushedBetween(first: Call, second: Call, flushes: readonly Flush[]): boolean {
  return flushes.some(
    (flush) =>
      covers(flush, first) && first.from <= flush.to + ON_ITS_WAY && second.from >= flush.from,
  );
}

function describe(first: Call, second: Call, flushes: readonly Flush[]): string {
  const shown = ({ from, to }: Call) => `${new Date(from).toISOString()} for ${to - from} ms`;
  const before = flushes.findLast((flush) => flush.to < second.from && covers(flush, second));
  const ago = before === undefined ? 'never' : `${second.from - before.to} ms before`;
  return `${second.session}: ${shown(first)}, ${shown(second)}; flushed ${ago}`;
}

function increase(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

function sorted(counts: ReadonlyMap<string, number>): [string, number][] {
  return [...counts].sort(([, left], [, right]) => right - left);
}
