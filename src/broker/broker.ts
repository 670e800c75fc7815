import type { Config } from '../config/config.ts';
import { AdminSocketError } from '../listener/admin-socket.ts';
import type { Log } from '../telemetry/log.ts';
import { type Composition, compose } from './compose.ts';
import type { Given } from './foundation.ts';

/** A broker that runs. */
export interface Broker {
  /** Answers what was accepted, and ends. */
  stop(): Promise<void>;
}

/**
 * Builds a broker and starts it.
 *
 * @throws ListenError, KubeconfigError, TraceConfigError: when it cannot run as asked for.
 *   What was started by then has ended.
 */
export async function startBroker(given: Omit<Given, 'stops'>): Promise<Broker> {
  const { config, log, signal } = given;
  await using stops = new AsyncDisposableStack();
  const broker = await compose({ ...given, stops });
  startInBackground(broker, config);
  await startAnswering(broker, config, log);
  if (!signal.aborted) {
    log.info({ clusterName: config.clusterName, sessionScope: config.sessionScope }, 'ready');
    // Not waited for: the broker answers, whatever the API server does.
    void broker.taint?.keepOff();
  }
  const running = stops.move();
  return {
    async stop() {
      log.info('stopping');
      await running.disposeAsync();
      log.info('stopped');
    },
  };
}

/** Starts what nobody waits for. */
function startInBackground(
  { watch, issuer, workers, credentials, caller }: Composition,
  config: Config,
): void {
  watch.start();
  issuer.start(config.tokenIssuer, workers.started());
  credentials.start();
  caller.warmUp();
}

/** Opens the sockets, the pods' first; what a broker before this one held is taken over. */
async function startAnswering(
  { store, succession, workers, listener, admin }: Composition,
  config: Config,
  log: Log,
): Promise<void> {
  // Pods are not answered before what was kept for them is there, or takes too long.
  const [predecessor] = await Promise.all([succession.succeed(), store?.start()]);
  // With somebody there who answers, this one has time until it can do so without delay.
  if (predecessor !== undefined) await workers.started();
  const listening = listener.start(predecessor, (address) => void succession.findsTaken(address));
  await Promise.all([
    listening,
    workers.started(),
    // The predecessor has let go of its own by then.
    (predecessor === undefined ? admin.start() : listening.then(() => admin.start())).catch(
      (error: unknown) => {
        if (!(error instanceof AdminSocketError)) throw error;
        if (error.inUse) succession.meets(error.message);
        if (config.adminSocketNamed) throw error;
        log.warn({ reason: error.message }, 'going on without an admin socket');
      },
    ),
  ]);
}
