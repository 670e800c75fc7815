import type { Clock, DurationMs, MonotonicMs } from '../clock.ts';
import type { Config } from '../config/config.ts';
import type { AdminSocket } from '../listener/admin-socket.ts';
import {
  HandedOverError,
  type HandedState,
  type HandOverActions,
  type HandOverRefusal,
  type Successor,
} from '../listener/hand-over.ts';
import type { Listener, PortAddress } from '../listener/listener.ts';
import { isBroker } from '../listener/port-holder.ts';
import { NoHandOverError, Predecessor } from '../listener/predecessor.ts';
import type { FlushChoice } from '../session-store/session-store.ts';
import { versionAt } from '../session-store/version-clock.ts';
import type { RoleSessions } from '../sessions/role-sessions.ts';
import { isChosen } from '../sessions/stored-sessions.ts';
import type { Log } from '../telemetry/log.ts';
import type { NodeMetrics } from '../telemetry/metrics/node-metrics.ts';

/** How long a predecessor may go on after the hand-over before that is an error. */
const PREDECESSOR_TIMEOUT: DurationMs = 60_000;
/** How soon a broker that has the port and did not hand over is asked again. */
const RETRY_INTERVAL: DurationMs = 2_000;

/** What {@link Succession} is made from. */
export interface SuccessionOptions {
  readonly clock: Clock;
  readonly config: Config;
  readonly log: Log;
  readonly metrics: Pick<NodeMetrics, 'handOvers'>;
  readonly sessions: RoleSessions;
  readonly listener: Pick<Listener, 'startProbes' | 'stopProbes' | 'succeeded'>;
  /** The admin socket, on which successors ask. */
  readonly admin: () => Pick<AdminSocket, 'start' | 'release' | 'listening'>;
}

/**
 * Replaces one broker on a node by another without a gap. The sessions are handed over in memory,
 * both brokers listen on the pods' ports for a moment, and the ports of probes and metrics are passed
 * on.
 */
export class Succession {
  readonly #options: SuccessionOptions;
  #predecessor: Predecessor | undefined;
  /** The `--ready-id` of the broker that this one took over from, and when it did. */
  #tookOver: { readonly readyId: string | undefined; readonly at: MonotonicMs } | undefined;
  /** The look for a predecessor that is under way. */
  #looking: Promise<Predecessor | undefined> | undefined;
  #lookAgainAt: MonotonicMs = Number.NEGATIVE_INFINITY;
  #handsOver = false;
  #stopped = false;
  #reported = false;
  #holderAsked = false;
  readonly #other = Promise.withResolvers<void>();

  constructor(options: SuccessionOptions) {
    this.#options = options;
  }

  /**
   * Takes over the sessions of the broker that runs on this node, if there is one that hands over.
   *
   * @returns That broker, for {@link Listener.start}; undefined: there is none.
   */
  async succeed(): Promise<Predecessor | undefined> {
    const { config, log, sessions, metrics, clock } = this.#options;
    const predecessor = await Predecessor.find(config.adminSocket, config, clock).catch((error) => {
      if (!(error instanceof NoHandOverError)) throw error;
      if (error.final) this.#lookAgainAt = Number.POSITIVE_INFINITY;
      this.reportOtherBroker(error.message);
    });
    if (predecessor === undefined) return undefined;
    this.#predecessor = predecessor;
    this.#tookOver = { readyId: predecessor.readyId, at: clock.elapsed() };
    for (const { session, kept } of predecessor.sessions) {
      if (kept.role.audience !== config.tokenAudience) continue;
      // Without a store there is no version, only the time of the fetch.
      const version = kept.version || versionAt(kept.fetchedAt);
      // In token scope, the token may not have been verified.
      sessions.restore(session, { ...kept, version }, session.scope !== 'token');
    }
    log.info({ sessions: predecessor.sessions.length }, 'taking over from the broker that runs');
    metrics.handOvers.inc({ result: 'taken' });
    const overdue = clock.setTimeout(() => {
      metrics.handOvers.inc({ result: 'overdue' });
      log.error('two brokers run on this node: the one that has handed over was not stopped');
    }, PREDECESSOR_TIMEOUT);
    overdue.unref();
    void predecessor.gone.then(() => {
      this.#predecessor = undefined;
      clock.clearTimeout(overdue);
      log.info('the broker before this one has ended');
    });
    return predecessor;
  }

  /**
   * Reports, once, that another broker runs on this node and does not hand over: only one of the two
   * can answer pods.
   */
  reportOtherBroker(reason: string): void {
    if (this.#reported) return;
    this.#reported = true;
    const { log, metrics } = this.#options;
    metrics.handOvers.inc({ result: 'refused' });
    log.error({ reason }, 'two brokers run on this node: the other one does not hand over');
  }

  /**
   * A port for pods is in use. Reports if another broker has it that was not found on its socket,
   * and looks for that one again: it may have been too busy to answer, or between a successor that
   * died and this one, and would not be stopped before this one is ready.
   *
   * @returns The broker that has the port, once it has handed over.
   */
  async portTaken(address: PortAddress): Promise<Predecessor | undefined> {
    if (this.#predecessor !== undefined) return this.#predecessor;
    if (!this.#holderAsked) {
      this.#holderAsked = true;
      void this.#askHolder(address);
    }
    const { clock, admin } = this.#options;
    // Nobody else can be found on this broker's own socket.
    if (admin().listening) return undefined;
    if (this.#looking === undefined && clock.elapsed() < this.#lookAgainAt) return undefined;
    this.#looking ??= this.succeed().finally(() => {
      this.#looking = undefined;
      this.#lookAgainAt = Math.max(this.#lookAgainAt, clock.elapsed() + RETRY_INTERVAL);
    });
    return await this.#looking;
  }

  /** Resolves when a port for pods is found to be held by something that is no broker. */
  get waitsForOther(): Promise<void> {
    return this.#other.promise;
  }

  async #askHolder(address: PortAddress): Promise<void> {
    if (!(await isBroker(address))) this.#other.resolve();
    else if (this.#predecessor === undefined) {
      this.reportOtherBroker('it has the port, and no socket that this one knows');
    }
  }

  /** What a successor can request from this broker. */
  get actions(): HandOverActions {
    return {
      offer: (successor) => this.#offer(successor),
      flush: async (chosen) => {
        this.#options.sessions.flush((session) => isChosen(chosen, session));
        await this.#flushPredecessor(chosen);
      },
      release: async () => {
        await this.#options.listener.stopProbes();
        this.#options.log.info('handed over; answering pods until stopped');
      },
      reclaim: () => this.#reclaim(),
    };
  }

  /**
   * Flushes sessions of the predecessor as well, while it still answers pods. To be called when
   * this broker's own have been flushed.
   *
   * @returns Whether it has; undefined if there is none.
   * @throws HandedOverError: a successor was given this broker's sessions before that.
   */
  async flush(chosen: FlushChoice): Promise<boolean | undefined> {
    if (this.#handsOver) throw new HandedOverError();
    return await this.#flushPredecessor(chosen);
  }

  async #flushPredecessor(chosen: FlushChoice): Promise<boolean | undefined> {
    return await this.#predecessor?.flush(chosen);
  }

  /** The broker stops: nothing is taken back from a successor any more. */
  stop(): void {
    this.#stopped = true;
  }

  #offer({ clusterName, port, readyId }: Partial<Successor>): HandedState | HandOverRefusal {
    const { config, sessions, metrics, admin, listener, log } = this.#options;
    const refusal =
      clusterName !== config.clusterName
        ? `it is of the cluster ${config.clusterName}`
        : port !== config.port
          ? `it answers on port ${config.port}`
          : undefined;
    if (refusal !== undefined) {
      metrics.handOvers.inc({ result: 'refused' });
      log.error({ clusterName, port }, 'two brokers run on this node: the new one is no successor');
      return { refused: refusal };
    }
    if (this.#handsOver) return { refused: 'it is handing over to another one', later: true };
    if (this.#isPredecessors(readyId)) {
      log.warn('the broker before this one was started again; not handing over to it');
      return { refused: 'it has just taken over from a broker of the same kind', later: true };
    }
    this.#handsOver = true;
    metrics.handOvers.inc({ result: 'given' });
    listener.succeeded = true;
    // From now on a flush here would not reach the sessions that are handed over.
    admin().release();
    sessions.standBy(true);
    const handed = [...sessions.all()].flatMap(
      ({ key, scope, namespace, serviceAccount, credentials }) =>
        credentials?.kept === undefined
          ? []
          : [{ session: { key, scope, namespace, serviceAccount }, kept: credentials.kept }],
    );
    return { sessions: handed, readyId: config.readyId };
  }

  /**
   * Whether a broker is of the pod template that this one has just taken over from: the kubelet
   * starts a container that died again, though its pod is about to be deleted. It must not take
   * everything back. One that comes later may be an upgrade to the version before.
   */
  #isPredecessors(readyId: string | undefined): boolean {
    if (readyId === undefined || readyId !== this.#tookOver?.readyId) return false;
    return this.#options.clock.elapsed() - this.#tookOver.at < PREDECESSOR_TIMEOUT;
  }

  async #reclaim(): Promise<void> {
    this.#handsOver = false;
    if (this.#stopped) return;
    const { listener, sessions, admin, log, metrics } = this.#options;
    metrics.handOvers.inc({ result: 'reclaimed' });
    log.warn('the broker that took over is gone; this one goes on');
    sessions.standBy(false);
    listener.succeeded = false;
    await listener.stopProbes();
    await Promise.all([
      listener.startProbes(),
      admin()
        .start()
        .catch((error: Error) => log.warn({ reason: error.message }, 'no admin socket any more')),
    ]);
  }
}
