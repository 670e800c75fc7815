import { setTimeout as pause } from 'node:timers/promises';
import { BrokenRunError } from '../harness/broken-run.ts';
import type { ClientResult } from '../load/clients.ts';
import { type Address, podAddress } from '../load/one-try.ts';
import { startLoad, type WaitingLoad } from '../load/start-load.ts';
import type { SteadyHits } from '../load/steady-hits.ts';
import type { Bench } from '../scenario.ts';
import { type BurstHits, type BurstTimes, burstHits } from './burst-figures.ts';

/** How hits reach the server: on connections that are open already, or on one each. */
export type HitKind = 'open' | 'connecting';

/** What a burst came to on one server. */
export interface BurstRun {
  readonly hits: Readonly<Record<HitKind, BurstHits>>;
  readonly times: BurstTimes;
  /** Whether the processes that measure went before all others on their core. */
  readonly prioritised: boolean;
}

/** A server, and what a burst asks it. */
export interface BurstTarget {
  readonly address: Address;
  /** Tokens that hits use, with the right answers. */
  readonly known: readonly { readonly token: string; readonly body: string }[];
  /** The tokens of the burst. */
  readonly fresh: readonly string[];
  /** Called when the calm is over and the burst begins, and when it has ended. */
  readonly atStart?: () => Promise<void>;
  readonly atEnd?: () => Promise<void>;
  /** Checks what the new tokens were answered, in their order, all with status 200. */
  check(bodies: readonly string[]): Promise<void>;
}

const NEW_POD = { startAt: 0, patience: 30_000, tries: 5, pause: 1_000 };

/**
 * Runs hits of both kinds at steady rates, and after a third of the time a burst of new tokens.
 *
 * @throws BrokenRunError where anything was answered wrongly, or a kept connection was closed.
 */
export async function runBurst(
  { config }: Pick<Bench, 'config'>,
  target: BurstTarget,
): Promise<BurstRun> {
  const plan = config.burst;
  using open = await startLoad('first');
  using connecting = await startLoad('first');
  using clients = await startLoad('last');
  const began = now();
  const steady = (load: WaitingLoad, connections: number | 'each', perSecond: number) => {
    const { address, known } = target;
    const running = load.run({
      kind: 'steady',
      target: address,
      tokens: known.map(({ token }) => token),
      bodies: known.map(({ body }) => body),
      connections,
      perSecond,
      seconds: plan.seconds,
    });
    running.catch(() => undefined);
    return running;
  };
  const loads = [
    steady(open, plan.connections, plan.hitsPerSecond),
    steady(connecting, 'each', plan.connectingPerSecond),
  ] as const;
  await pause((plan.seconds * 1_000) / 3);
  await target.atStart?.();
  const from = now();
  const results = await clients.run({
    kind: 'clients',
    target: target.address,
    clients: target.fresh.map((token, index) => ({ ...NEW_POD, token, from: podAddress(index) })),
  });
  const times = { began, from, to: now() };
  await target.atEnd?.();
  const [onOpen, onOwn] = await Promise.all(loads);
  await target.check(bodiesOf(results));
  return {
    hits: { open: figures('open', onOpen, times), connecting: figures('connecting', onOwn, times) },
    times,
    prioritised: open.prioritised && connecting.prioritised,
  };
}

function bodiesOf(results: readonly ClientResult[]): string[] {
  return results.map(({ status, failure, body }) => {
    if (status === 200) return body;
    throw new BrokenRunError(`a new token was answered ${status}: ${failure ?? body}`);
  });
}

function figures(kind: HitKind, load: SteadyHits, times: BurstTimes): BurstHits {
  const { failed, refused, wrong, reconnected } = load;
  if (failed + refused + wrong > 0) {
    throw new BrokenRunError(
      `hits (${kind}): ${failed} failed, ${refused} refused, ${wrong} wrong`,
    );
  }
  // They would be of the other kind.
  if (reconnected > 0) {
    throw new BrokenRunError(`hits: ${reconnected} found their open connection closed`);
  }
  const hits = burstHits(load, times);
  if (hits.during.hits === 0) {
    throw new BrokenRunError(`no hit (${kind}) was answered during the burst`);
  }
  return hits;
}

/** Milliseconds since the epoch, with fractions, the same in all processes. */
function now(): number {
  return performance.timeOrigin + performance.now();
}
