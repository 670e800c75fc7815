import type { Clock, DurationMs } from '../clock.ts';
import type { Log } from '../telemetry/log.ts';
import type { RepeatedFaults } from '../telemetry/repeated-faults.ts';
import { scrub } from '../telemetry/scrub.ts';
import type { ApiClient } from './api-client.ts';
import { pauseUpTo } from './pause.ts';

const TIMEOUT: DurationMs = 5_000;
/** A node object with its list of images. */
const MOST_BYTES = 4 * 1024 * 1024;
/** The pause before the first new try, doubled up to the longest. */
const FIRST_PAUSE: DurationMs = 250;
const LONGEST_PAUSE: DurationMs = 30_000;

/** What {@link StartupTaint} is made from. */
export interface StartupTaintOptions {
  readonly client: Pick<ApiClient, 'get' | 'patch'>;
  readonly nodeName: string;
  /** The taint's key; its effect does not matter. */
  readonly key: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly faults: RepeatedFaults;
  /** A number from 0 to 1. */
  readonly random: () => number;
}

/** Something that passes: to be tried again. */
class TryAgainError extends Error {
  override readonly name = 'TryAgainError';
}

/**
 * Takes the start-up taint off this node, so that pods are scheduled to it.
 *
 * The patch tests the `resourceVersion` that it was made from: where another controller has
 * changed the node meanwhile it fails as a whole and is made anew, so that no taint of another
 * is lost or comes back.
 *
 * @see https://karpenter.sh/docs/concepts/nodepools/#cilium-startup-taint
 */
export class StartupTaint {
  readonly #options: StartupTaintOptions;
  readonly #stop = new AbortController();

  constructor(options: StartupTaintOptions) {
    this.#options = options;
  }

  /** Tries until the taint is gone, or {@link stop}; never rejects. */
  async lift(): Promise<void> {
    const { faults, log, clock, random, nodeName: node, key } = this.#options;
    const { signal } = this.#stop;
    for (let pause = FIRST_PAUSE; !signal.aborted; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
      try {
        const lifted = await this.#try();
        faults.over('start-up taint');
        if (lifted) log.info({ node, key }, 'start-up taint removed');
        else log.info({ node, key }, 'the node has no start-up taint');
        return;
      } catch (error) {
        if (signal.aborted) return;
        faults.report('start-up taint', {
          level: 'warn',
          fields: { node, key, reason: scrub((error as Error).message) },
          message: 'the start-up taint cannot be removed now',
        });
        await pauseUpTo(pause, { clock, random, signal });
      }
    }
  }

  stop(): void {
    this.#stop.abort();
  }

  /** @returns Whether there was a taint to remove. */
  async #try(): Promise<boolean> {
    const { client, nodeName, key } = this.#options;
    const path = `/api/v1/nodes/${encodeURIComponent(nodeName)}`;
    const limits = { timeout: TIMEOUT, maxBytes: MOST_BYTES, signal: this.#stop.signal };
    const { status, body } = await client.get(path, limits);
    if (status !== 200) throw new TryAgainError(`reading the node was answered ${status}`);
    const patch = removal(parsed(body), key);
    if (patch === undefined) return false;
    const patched = await client.patch(path, patch, limits);
    if (patched.status !== 200) {
      throw new TryAgainError(`removing it was answered ${patched.status}`);
    }
    return true;
  }
}

/** One step of a JSON patch (RFC 6902). */
interface PatchStep {
  readonly op: 'test' | 'remove';
  readonly path: string;
  readonly value?: unknown;
}

/**
 * The patch that takes the taints of a key off a node, and nothing else.
 *
 * @param node - As the API server has it.
 * @returns Undefined where there is no such taint.
 * @throws TryAgainError for what is no node.
 */
export function removal(node: unknown, key: string): PatchStep[] | undefined {
  const { metadata, spec } = (node ?? {}) as {
    metadata?: { resourceVersion?: unknown };
    spec?: { taints?: unknown };
  };
  const version = metadata?.resourceVersion;
  if (typeof version !== 'string') throw new TryAgainError('the node has no resourceVersion');
  const taints: unknown[] = Array.isArray(spec?.taints) ? spec.taints : [];
  const indices = taints.flatMap((taint, index) =>
    (taint as { key?: unknown } | null)?.key === key ? [index] : [],
  );
  if (indices.length === 0) return undefined;
  return [
    { op: 'test', path: '/metadata/resourceVersion', value: version },
    // From the end, so that those that are left keep their places.
    ...indices
      .reverse()
      .map((index): PatchStep => ({ op: 'remove', path: `/spec/taints/${index}` })),
  ];
}

function parsed(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    throw new TryAgainError('the node is not JSON');
  }
}
