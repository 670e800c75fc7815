import { Agent } from 'node:http';
import type { DurationMs } from '../../src/clock.ts';
import { Chance } from '../harness/chance.ts';
import type { AnswerCheck } from './answer-check.ts';
import { askForCredentials, type Reply } from './ask.ts';
import type { Expectations } from './expectations.ts';
import type { Findings } from './findings.ts';
import { sleep } from './sleep.ts';
import type { Tally } from './tally.ts';
import type { HeldToken, SoakPod } from './world.ts';

/** Between two fetches of one pod, on average. */
const PAUSE: DurationMs = 330;
/** botocore's: three tries, a second apart. */
const TRIES = 3;
const BETWEEN_TRIES: DurationMs = 1_000;
/** The longest that clients wait that hang up; most do so far sooner. */
const MAX_IMPATIENCE: DurationMs = 1_500;
/** Processes of a pod that start together. */
const BURST = 10;
/** How long a deleted pod's processes go on. */
const AFTERLIFE: DurationMs = 2_000;

/** EKS Auth's own refusals keep their status; what may heal is a 503. */
const STATUSES: ReadonlySet<number> = new Set([200, 400, 404, 503]);

/** What {@link Clients} are made from. */
export interface ClientsOptions {
  readonly port: number;
  readonly seed: number;
  readonly answerCheck: AnswerCheck;
  readonly expectations: Expectations;
  readonly tally: Tally;
  readonly findings: Findings;
  readonly signal: AbortSignal;
}

/** The processes of the pods, which ask for credentials all the time. */
export class Clients {
  readonly #options: ClientsOptions;
  readonly #running = new Set<Promise<void>>();
  #started = 0;
  /** First tries that failed when everything was well; the next ones may have made up for it. */
  failedFirstTries = 0;

  constructor(options: ClientsOptions) {
    this.#options = options;
  }

  /** Lets a pod ask until it is deleted, and a little longer. */
  start(pod: SoakPod): void {
    this.#started += 1;
    const chance = new Chance(this.#options.seed, `client ${this.#started}`);
    const running = this.#run(pod, chance).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** Resolves when all have ended. */
  async ended(): Promise<void> {
    await Promise.all(this.#running);
  }

  /** Asks as botocore does. @returns Whether there were credentials. */
  async fetch(pod: SoakPod, token: HeldToken = pod.token, agent?: Agent): Promise<boolean> {
    const { expectations, findings, signal } = this.#options;
    for (let tries = 1; ; tries += 1) {
      const wellBefore = expectations.isServed(pod, token);
      const reply = await this.#try(pod, token, agent);
      if (reply.status === 200) return true;
      if (!wellBefore || !expectations.isServed(pod, token)) return false;
      if (tries === 1) this.failedFirstTries += 1;
      if (tries === TRIES) {
        findings.add('a good pod was not served while everything was well', {
          pod: pod.name,
          namespace: pod.account.namespace,
          status: reply.status,
          error: reply.error,
          body: reply.body.slice(0, 200),
          took: Math.round(reply.took),
        });
        return false;
      }
      await sleep(BETWEEN_TRIES, signal);
      if (signal.aborted) return false;
    }
  }

  async #run(pod: SoakPod, chance: Chance): Promise<void> {
    const { signal } = this.#options;
    const agent = chance.is(0.5) ? new Agent({ keepAlive: true }) : undefined;
    let end = Number.POSITIVE_INFINITY;
    while (!signal.aborted && Date.now() < end) {
      if (pod.gone) end = Math.min(end, Date.now() + AFTERLIFE);
      await this.#askSomehow(pod, chance, agent);
      await sleep(-Math.log(1 - chance.between(0, 0.99)) * PAUSE, signal);
    }
    agent?.destroy();
  }

  async #askSomehow(pod: SoakPod, chance: Chance, agent: Agent | undefined): Promise<void> {
    const way = chance.between(0, 1);
    if (way < 0.05) {
      await this.#try(pod, pod.token, agent, MAX_IMPATIENCE ** chance.between(0, 1));
    } else if (way < 0.07) {
      const { token } = pod;
      await Promise.all(Array.from({ length: BURST }, () => this.fetch(pod, token)));
    } else if (way < 0.15 && pod.former !== undefined) {
      // A process that has read its token file before the last rotation.
      await this.#try(pod, pod.former, agent);
    } else await this.fetch(pod, pod.token, agent);
  }

  async #try(
    pod: SoakPod,
    token: HeldToken,
    agent: Agent | undefined,
    patience?: DurationMs,
  ): Promise<Reply> {
    const { port, tally, answerCheck } = this.#options;
    const goodBefore = this.#options.expectations.isGood(token);
    const reply = await askForCredentials({
      port,
      token: token.text,
      from: pod.address,
      agent,
      patience,
    });
    tally.add(reply);
    if (reply.status === 200) answerCheck.add({ ...reply, pod, token });
    else if (reply.error !== 'HANG_UP') this.#checkError(reply, pod, token, goodBefore);
    return reply;
  }

  /** What an answer without credentials must not be, whatever EKS Auth does. */
  #checkError(reply: Reply, pod: SoakPod, token: HeldToken, goodBefore: boolean): void {
    const { findings, expectations, signal } = this.#options;
    const { status, error, body, retryAfter } = reply;
    if (signal.aborted && status === 0) return;
    const details = { pod: pod.name, status, error, body: body.slice(0, 200) };
    if (status === 0) findings.add('no answer', details);
    else if (!STATUSES.has(status)) findings.add(`answer ${status}`, details);
    else if (status === 503 && !/^\d+$/.test(retryAfter ?? '')) {
      findings.add('503 without Retry-After', details);
    } else if (codeOf(body) === 'InvalidToken' && goodBefore && expectations.isGood(token)) {
      findings.add('a good token was not accepted', details);
    }
  }
}

function codeOf(body: string): unknown {
  try {
    return (JSON.parse(body) as { code?: unknown }).code;
  } catch {
    return undefined;
  }
}
