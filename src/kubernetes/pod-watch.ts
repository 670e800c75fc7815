import type { Clock, DurationMs } from '../clock.ts';
import { describeFailure } from '../http/describe-failure.ts';
import type { RepeatedFaults } from '../telemetry/repeated-faults.ts';
import type { ApiClient } from './api-client.ts';
import { Lines, ListItems, StreamError } from './json-stream.ts';
import type { NodePods } from './node-pods.ts';
import { pauseUpTo } from './pause.ts';
import { LISTS_READ, type PodFacts, readPod } from './pod.ts';
import { readEvent, WatchExpiredError } from './watch-event.ts';

/** A list and its answer, whatever the node holds. */
const LIST_TIMEOUT: DurationMs = 60_000;
/** The API server ends a watch after this, and up to twice as long, as client-go asks it to. */
const WATCH_SECONDS = 300;
/** A watch that says nothing for this long is taken for dead; bookmarks come every minute. */
const SILENCE: DurationMs = 180_000;
/** How long the API server may take to begin a watch. */
const BEGIN_TIMEOUT: DurationMs = 10_000;
/** The pause before the first new try, doubled up to the longest while tries fail. */
const INITIAL_BACKOFF: DurationMs = 500;
const MAX_BACKOFF: DurationMs = 30_000;
/** Items of a list at most. */
const MAX_LISTED = 10_000;

/** What {@link PodWatch} is made from. */
export interface PodWatchOptions {
  readonly client: ApiClient;
  readonly nodeName: string;
  readonly pods: NodePods;
  readonly clock: Clock;
  readonly faults: RepeatedFaults;
  /** A number from 0 to 1. */
  readonly random: () => number;
  /** Called after each list. */
  readonly onListed?: (() => void) | undefined;
}

/** Why a watch has ended, where it did not end as it should. */
class WatchError extends Error {
  override readonly name = 'WatchError';
  readonly code = 'ERR_WATCH';
}

/**
 * Keeps {@link NodePods} up to date: one list from the API server's cache, then a watch from
 * there on, begun anew from where it was cut, and listed anew where that is too long ago.
 *
 * @see https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
 */
export class PodWatch {
  readonly #options: PodWatchOptions;
  readonly #stop = new AbortController();
  readonly #first = Promise.withResolvers<void>();
  /** Where to go on from; undefined: a list is due. */
  #version: string | undefined;
  #connected = false;
  #pause: DurationMs = INITIAL_BACKOFF;

  constructor(options: PodWatchOptions) {
    this.#options = options;
  }

  /** Whether a watch is under way, so that the table is as good as it gets. */
  get connected(): boolean {
    return this.#connected;
  }

  /** Resolves when the first list is in, or has failed. */
  get settled(): Promise<void> {
    return this.#first.promise;
  }

  start(): void {
    void this.#run();
  }

  stop(): void {
    this.#stop.abort();
  }

  async #run(): Promise<void> {
    const { faults, clock, random } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        this.#version ??= await this.#list();
        this.#first.resolve();
        await this.#watch(this.#version);
        await pauseUpTo(INITIAL_BACKOFF, { clock, random, signal });
      } catch (error) {
        if (signal.aborted) break;
        // Too long ago, or something that may have hidden an event: there is no going on from it.
        if (error instanceof WatchExpiredError || error instanceof StreamError) {
          this.#version = undefined;
        }
        this.#first.resolve();
        faults.report('pod watch', {
          level: 'warn',
          fields: { reason: describeFailure(error) },
          message: 'the pods of this node cannot be watched now',
        });
        await pauseUpTo(this.#pause, { clock, random, signal });
        this.#pause = Math.min(MAX_BACKOFF, this.#pause * 2);
      }
    }
    this.#first.resolve();
  }

  /** @returns Where to watch from. */
  async #list(): Promise<string> {
    const { client, nodeName, pods, onListed } = this.#options;
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(LIST_TIMEOUT)]);
    // From the API server's cache: a thousand nodes that ask etcd at once would be felt.
    const answer = await client.stream(`${podsOf(nodeName)}&resourceVersion=0`, signal);
    if (answer.status !== 200) {
      await drain(answer.body);
      throw new WatchError(`the list was answered ${answer.status}`);
    }
    const listed = new Map<string, PodFacts>();
    const items = new ListItems((text) => {
      const facts = text === undefined ? undefined : readPod(parsed(text));
      if (facts?.node === nodeName && listed.size < MAX_LISTED) listed.set(facts.uid, facts);
    }, LISTS_READ);
    for await (const chunk of answer.body) items.push(chunk);
    const version = versionOf(items.end());
    pods.replace(listed);
    onListed?.();
    return version;
  }

  /** Watches until the API server ends it, which it does after a while. */
  async #watch(version: string): Promise<void> {
    const { client, nodeName, clock, random } = this.#options;
    const silence = new AbortController();
    const seconds = Math.round(WATCH_SECONDS * (1 + random()));
    const query = `watch=1&allowWatchBookmarks=true&timeoutSeconds=${seconds}`;
    const tooLong = (after: DurationMs) =>
      clock.setTimeout(() => silence.abort(new WatchError('the watch went silent')), after);
    let timer = tooLong(BEGIN_TIMEOUT);
    try {
      const answer = await client.stream(
        `${podsOf(nodeName)}&${query}&resourceVersion=${encodeURIComponent(version)}`,
        AbortSignal.any([this.#stop.signal, silence.signal]),
      );
      if (answer.status !== 200) {
        await drain(answer.body);
        if (answer.status === 410) throw new WatchExpiredError();
        throw new WatchError(`the watch was answered ${answer.status}`);
      }
      this.#begun();
      const lines = new Lines();
      for await (const chunk of answer.body) {
        clock.clearTimeout(timer);
        timer = tooLong(SILENCE);
        for (const line of lines.push(chunk)) this.#take(line);
      }
    } finally {
      this.#connected = false;
      clock.clearTimeout(timer);
    }
  }

  #begun(): void {
    this.#connected = true;
    this.#options.faults.over('pod watch');
  }

  /** @throws WatchExpiredError, StreamError: the table has to be listed anew. */
  #take(line: string): void {
    const { pods, nodeName } = this.#options;
    const event = readEvent(line);
    if (event.pod !== undefined) {
      if (event.type === 'DELETED') pods.remove(event.pod.uid);
      else if (event.pod.node === nodeName) pods.put(event.pod);
    }
    this.#version = event.version;
    this.#pause = INITIAL_BACKOFF;
  }
}

function podsOf(nodeName: string): string {
  return `/api/v1/pods?fieldSelector=${encodeURIComponent(`spec.nodeName=${nodeName}`)}`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new StreamError('an item of the list is not JSON');
  }
}

/** @throws StreamError where what is left of a list is none of pods. */
function versionOf(rest: unknown): string {
  const { kind, metadata } = (rest ?? {}) as {
    kind?: unknown;
    metadata?: { resourceVersion?: unknown };
  };
  const version = metadata?.resourceVersion;
  if (kind !== 'PodList' || typeof version !== 'string' || version === '') {
    throw new StreamError('the list is none of pods');
  }
  return version;
}

/** Reads an answer that is of no use to its end, so that its connection can be used again. */
async function drain(body: AsyncIterable<Buffer>): Promise<void> {
  let left = 64 * 1024;
  for await (const chunk of body) {
    left -= chunk.length;
    if (left < 0) break;
  }
}
