import { LRUCache } from 'lru-cache';
import type { Clock, DurationMs } from '../clock.ts';
import type { ApiClient } from './api-client.ts';
import { MAX_OBJECT_BYTES } from './json-stream.ts';
import { type PodFacts, readPod } from './pod.ts';

/** Within the time that clients wait, so that an API server that hangs costs nobody an answer. */
const TIMEOUT: DurationMs = 1_000;
/** Look-ups at once; further ones wait. */
const MAX_CONCURRENT = 8;
const MAX_WAITING = 256;
/** How long a pod that is not there stays so: a token is never issued before its pod is. */
const ABSENT_TTL: DurationMs = 5_000;
const MAX_ABSENT = 1_000;
/** How long an API server that did not answer is not asked again. */
const AWAY_TTL: DurationMs = 2_000;

/** Which pod is asked for, as its token says. */
export interface SoughtPod {
  readonly namespace: string;
  readonly pod: string;
  readonly podUid: string;
}

/** What the API server knows of a pod. */
export type LookupResult =
  | { readonly kind: 'pod'; readonly facts: PodFacts }
  /** There is no such pod, or another one has its name by now. */
  | { readonly kind: 'absent' }
  /** The API server does not say. */
  | { readonly kind: 'away' };

/** What {@link PodLookup} is made from. */
export interface PodLookupOptions {
  readonly client: Pick<ApiClient, 'get'>;
  readonly clock: Clock;
  /** Called for each request to the API server with what came of it. */
  readonly onLookup: (result: LookupResult['kind']) => void;
}

/** Asks the API server for single pods that the watch has not told of. */
export class PodLookup {
  readonly #options: PodLookupOptions;
  readonly #underWay = new Map<string, Promise<LookupResult>>();
  readonly #absent: LRUCache<string, DurationMs>;
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #awayUntil = Number.NEGATIVE_INFINITY;

  constructor(options: PodLookupOptions) {
    this.#options = options;
    this.#absent = new LRUCache({ max: MAX_ABSENT });
  }

  /**
   * Looks up a pod. One that several ask about at once is asked for once.
   *
   * @returns What is known without asking, where the pod was absent or the API server away a
   *   moment ago.
   */
  find(sought: SoughtPod): Promise<LookupResult> {
    const { podUid } = sought;
    const underWay = this.#underWay.get(podUid);
    if (underWay !== undefined) return underWay;
    if (this.#options.clock.elapsed() < (this.#absent.get(podUid) ?? 0)) return settled('absent');
    if (this.#isAway || this.#waiting.length >= MAX_WAITING) return settled('away');
    const started = this.#inTurn(sought).finally(() => this.#underWay.delete(podUid));
    this.#underWay.set(podUid, started);
    return started;
  }

  get #isAway(): boolean {
    return this.#options.clock.elapsed() < this.#awayUntil;
  }

  async #inTurn(sought: SoughtPod): Promise<LookupResult> {
    if (this.#running >= MAX_CONCURRENT) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#running += 1;
    try {
      // Whoever waits behind one that hangs does not wait in vain as well.
      return this.#isAway ? { kind: 'away' } : await this.#ask(sought);
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }

  async #ask({ namespace, pod, podUid }: SoughtPod): Promise<LookupResult> {
    const { clock, onLookup } = this.#options;
    const found = await this.#get(namespace, pod, podUid).catch(
      (): LookupResult => ({ kind: 'away' }),
    );
    if (found.kind === 'away') this.#awayUntil = clock.elapsed() + AWAY_TTL;
    if (found.kind === 'absent') this.#absent.set(podUid, clock.elapsed() + ABSENT_TTL);
    onLookup(found.kind);
    return found;
  }

  async #get(namespace: string, name: string, uid: string): Promise<LookupResult> {
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}`;
    const limits = { timeout: TIMEOUT, maxBytes: MAX_OBJECT_BYTES };
    const { status, body } = await this.#options.client.get(path, limits);
    if (status === 404) return { kind: 'absent' };
    if (status !== 200) return { kind: 'away' };
    const facts = readPod(JSON.parse(body.toString('utf8')));
    if (facts === undefined) return { kind: 'away' };
    return facts.uid === uid ? { kind: 'pod', facts } : { kind: 'absent' };
  }
}

function settled(kind: 'absent' | 'away'): Promise<LookupResult> {
  return Promise.resolve({ kind });
}
