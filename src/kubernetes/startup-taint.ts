import type { Clock, DurationMs, EpochMs } from '../clock.ts';
import type { Log } from '../telemetry/log.ts';
import type { RepeatedFaults } from '../telemetry/repeated-faults.ts';
import { scrub } from '../telemetry/scrub.ts';
import type { ApiClient } from './api-client.ts';
import { pauseUpTo } from './pause.ts';

const TIMEOUT: DurationMs = 5_000;
/** A node object with its list of images. */
const MAX_NODE_BYTES = 4 * 1024 * 1024;
/** The pause before the first new try, doubled up to the longest. */
const INITIAL_BACKOFF: DurationMs = 250;
const MAX_BACKOFF: DurationMs = 30_000;
/** How long the node is looked at frequently, and how often, while it may still be given the taint. */
const FREQUENT_CHECKS_PERIOD: DurationMs = 10 * 60_000;
const FREQUENT_CHECK_INTERVAL: DurationMs = 4_000;
/** How often it is looked at otherwise. */
const CHECK_INTERVAL: DurationMs = 60_000;
/**
 * A node that is older has been given its taints: a new version of the broker on every node of a
 * large cluster must not have all of them ask every few seconds.
 */
const MAX_NEW_NODE_AGE: DurationMs = 3_600_000;

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
class TransientError extends Error {
  override readonly name = 'TransientError';
  readonly code = 'ERR_TRANSIENT';
}

/**
 * Keeps the start-up taint off this node, so that pods are scheduled to it.
 *
 * One look is not enough: a managed node group adds its taints after the node has joined, and
 * Karpenter puts its `startupTaints` back where they were removed before it had registered the
 * node. So a node that is new is looked at every few seconds for ten minutes, and every node once
 * a minute.
 *
 * The patch tests the `resourceVersion` that it was made from: where another controller has
 * changed the node meanwhile it fails as a whole and is made anew, so that no taint of another
 * is lost or comes back.
 *
 * @see https://github.com/kubernetes-sigs/karpenter/issues/1772
 * @see https://github.com/kubernetes-sigs/aws-ebs-csi-driver/issues/2447
 */
export class StartupTaint {
  readonly #options: StartupTaintOptions;
  readonly #stop = new AbortController();

  constructor(options: StartupTaintOptions) {
    this.#options = options;
  }

  /** Removes the taint whenever it is there, until {@link stop}; never rejects. */
  async keepOff(): Promise<void> {
    const { faults, log, clock, random, nodeName: node, key } = this.#options;
    const { signal } = this.#stop;
    const frequentUntil = clock.elapsed() + FREQUENT_CHECKS_PERIOD;
    let failed = 0;
    let before: Look['taint'] | undefined;
    while (!signal.aborted) {
      let pause: DurationMs;
      try {
        const { taint, createdAt } = await this.#look();
        faults.over('start-up taint');
        failed = 0;
        if (taint === 'removed') log.info({ node, key }, 'start-up taint removed');
        else if (before === undefined) log.info({ node, key }, 'the node has no start-up taint');
        before = taint;
        const frequent =
          clock.elapsed() < frequentUntil && clock.now() - createdAt < MAX_NEW_NODE_AGE;
        pause = frequent ? FREQUENT_CHECK_INTERVAL : CHECK_INTERVAL;
      } catch (error) {
        if (signal.aborted) return;
        faults.report('start-up taint', {
          level: 'warn',
          fields: { node, key, reason: scrub((error as Error).message) },
          message: 'the start-up taint cannot be removed now',
        });
        pause = Math.min(MAX_BACKOFF, INITIAL_BACKOFF * 2 ** failed);
        failed += 1;
      }
      await pauseUpTo(pause, { clock, random, signal });
    }
  }

  stop(): void {
    this.#stop.abort();
  }

  async #look(): Promise<Look> {
    const { client, nodeName, key } = this.#options;
    const path = `/api/v1/nodes/${encodeURIComponent(nodeName)}`;
    const limits = { timeout: TIMEOUT, maxBytes: MAX_NODE_BYTES, signal: this.#stop.signal };
    // From the API server's cache: should that be behind, the patch fails and is made anew.
    const { status, body } = await client.get(`${path}?resourceVersion=0`, limits);
    if (status !== 200) throw new TransientError(`reading the node was answered ${status}`);
    const node = parsed(body);
    const patch = removal(node, key);
    const createdAt = createdAtOf(node);
    if (patch === undefined) return { taint: 'absent', createdAt };
    const patched = await client.patch(path, patch, limits);
    if (patched.status !== 200) {
      throw new TransientError(`removing it was answered ${patched.status}`);
    }
    return { taint: 'removed', createdAt };
  }
}

/** What a look at the node came to. */
interface Look {
  readonly taint: 'absent' | 'removed';
  /** When the node was made. */
  readonly createdAt: EpochMs;
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
 * @throws TransientError for what is no node.
 */
export function removal(node: unknown, key: string): PatchStep[] | undefined {
  const { metadata, spec } = (node ?? {}) as {
    metadata?: { resourceVersion?: unknown };
    spec?: { taints?: unknown };
  };
  const version = metadata?.resourceVersion;
  if (typeof version !== 'string') throw new TransientError('the node has no resourceVersion');
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
    throw new TransientError('the node is not JSON');
  }
}

/** When a node was made; one that does not say is taken for new. */
function createdAtOf(node: unknown): EpochMs {
  const { metadata } = node as { metadata: { creationTimestamp?: unknown } };
  const createdAt = Date.parse(String(metadata.creationTimestamp));
  return Number.isNaN(createdAt) ? Number.POSITIVE_INFINITY : createdAt;
}
