import { createHistogram } from 'node:perf_hooks';
import type { DurationMs, EpochMs } from '../../src/clock.ts';
import type { AuditEvent } from '../../src/simulator/audit.ts';
import type { Reply } from './ask.ts';
import type { Findings } from './findings.ts';
import type { Keys } from './keys.ts';
import { covers, type Flush } from './operator.ts';
import { record } from './tally.ts';
import { type HeldToken, OWN, type SoakPod } from './world.ts';

/** Credentials with less left are not served. */
const MIN_TIME_LEFT: DurationMs = 15_000;
/** The broker's tolerance for the times of tokens. */
const TOKEN_TOLERANCE: DurationMs = 60_000;
/** Up to this the broker's clock may differ from the service's. */
const CLOCK_ERROR: DurationMs = 2_500;
/** How long after its end a role session is remembered here. */
const REMEMBERED: DurationMs = 60_000;

/** Faults whose answers are 200 and must not be served. */
const SPOILT: ReadonlySet<string> = new Set([
  'garbage',
  'half-body',
  'missing-field',
  'other-subject',
  'other-audience',
  'expired',
  'wrong-expiry',
]);

/** An answer with credentials, and whose request it answers. */
export interface Given extends Reply {
  readonly pod: SoakPod;
  readonly token: HeldToken;
}

interface Body {
  readonly AccessKeyId: string;
  readonly SecretAccessKey: string;
  readonly Token: string;
  readonly Expiration: string;
}

/** Role credentials as they were served. */
export interface Served extends Body {
  readonly assumedRoleArn: string;
}

/** What {@link AnswerCheck} is made from. */
export interface AnswerCheckOptions {
  readonly findings: Findings;
  readonly keys: Keys;
  readonly flushes: readonly Flush[];
  readonly clockOffset: DurationMs;
  /** Called with credentials that are served for the first time. */
  readonly onFirstServed: (served: Served) => void;
}

/** Holds every answer with credentials against the simulator's audit log. */
export class AnswerCheck {
  readonly #options: AnswerCheckOptions;
  readonly #issued = new Map<string, AuditEvent>();
  readonly #bodies = new Map<string, string>();
  #waiting: Given[] = [];
  /** Latency of answers with credentials that were there before the request, in microseconds. */
  readonly hits = createHistogram();
  checked = 0;

  constructor(options: AnswerCheckOptions) {
    this.#options = options;
  }

  /** An answer with credentials has come in. */
  add(answer: Given): void {
    this.#waiting.push(answer);
  }

  /** Takes note of a call that has issued credentials. */
  observe(event: AuditEvent): void {
    if (event.issuedAccessKeyId !== undefined) this.#issued.set(event.issuedAccessKeyId, event);
  }

  /** Checks what was answered up to a time until which all calls have been observed. */
  checkUntil(until: EpochMs): void {
    const ready = this.#waiting.filter(({ answeredAt }) => answeredAt <= until);
    this.#waiting = this.#waiting.filter(({ answeredAt }) => answeredAt > until);
    for (const answer of ready) this.#check(answer);
    const forgotten = until + this.#options.clockOffset - REMEMBERED;
    for (const [key, { expiration = 0 }] of this.#issued) {
      if (expiration > forgotten) continue;
      this.#issued.delete(key);
      this.#bodies.delete(key);
    }
  }

  #check(answer: Given): void {
    this.checked += 1;
    const body = parsed(answer.body);
    const event = this.#issued.get(body?.AccessKeyId ?? '');
    const wrong = this.#wrong(answer, body, event);
    const { pod, token } = answer;
    if (wrong !== undefined) {
      this.#options.findings.add(`wrong answer: ${wrong}`, {
        pod: { name: pod.name, uid: pod.uid, serviceAccountUid: token.serviceAccountUid },
        account: `${pod.account.namespace}/${pod.account.name}`,
        sentAt: new Date(answer.sentAt).toISOString(),
        answeredAt: new Date(answer.answeredAt).toISOString(),
        accessKeyId: body?.AccessKeyId,
        issued: event && { ...event, userAgent: undefined, sessionTags: undefined },
      });
    }
    if (event !== undefined && event.time + event.duration < answer.sentAt) {
      record(this.hits, answer.took);
    }
  }

  #wrong(answer: Given, body: Body | undefined, event: AuditEvent | undefined) {
    if (body === undefined) return 'the body is not what SDKs read';
    if (event === undefined) return 'EKS Auth has not issued it';
    return (
      wrongOwner(answer, event) ??
      this.#wrongTime(answer, body, event) ??
      this.#staleToken(answer) ??
      this.#flushed(answer, event) ??
      this.#otherBody(answer, body, event)
    );
  }

  #wrongTime({ answeredAt, took }: Given, body: Body, { expiration = 0 }: AuditEvent) {
    if (Date.parse(body.Expiration) !== expiration) return 'it says another expiry';
    const error = this.#options.clockOffset === 0 ? 0 : CLOCK_ERROR;
    const left = expiration - answeredAt - this.#options.clockOffset;
    if (left <= 0) return 'it has expired';
    return left + took + error < MIN_TIME_LEFT ? 'it is about to expire' : undefined;
  }

  #staleToken({ sentAt, token }: Given) {
    if (this.#options.keys.isDropped(token.kid, sentAt)) return 'for a withdrawn key';
    const expired = sentAt + this.#options.clockOffset - CLOCK_ERROR - token.expiresAt;
    return expired > TOKEN_TOLERANCE ? 'for an expired token' : undefined;
  }

  #flushed({ sentAt, pod }: Given, { time }: AuditEvent) {
    const flushed = this.#options.flushes.some(
      (flush) => flush.to < sentAt && time < flush.from && covers(flush, pod.account),
    );
    return flushed ? 'it was fetched before a flush' : undefined;
  }

  #otherBody({ body: text }: Given, body: Body, { assumedRoleArn = '' }: AuditEvent) {
    const known = this.#bodies.get(body.AccessKeyId);
    if (known !== undefined) return known === text ? undefined : 'one session, two answers';
    this.#bodies.set(body.AccessKeyId, text);
    this.#options.onFirstServed({ ...body, assumedRoleArn });
    return undefined;
  }
}

function wrongOwner({ pod, token }: Given, event: AuditEvent): string | undefined {
  if (event.status !== 200 || SPOILT.has(event.fault ?? ''))
    return 'from an answer that was spoilt';
  const { namespace, name } = pod.account;
  if (event.namespace !== namespace || event.serviceAccount !== name) {
    return "another service account's";
  }
  if (event.serviceAccountUid !== token.serviceAccountUid) {
    return "a service account's that was deleted";
  }
  return namespace === OWN && event.podUid !== pod.uid ? "another pod's" : undefined;
}

function parsed(text: string): Body | undefined {
  try {
    const body = JSON.parse(text) as Record<string, unknown>;
    const members = ['AccessKeyId', 'SecretAccessKey', 'Token', 'Expiration'];
    return members.every((name) => typeof body[name] === 'string')
      ? (body as unknown as Body)
      : undefined;
  } catch {
    return undefined;
  }
}
