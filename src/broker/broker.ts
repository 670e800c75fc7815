import type { Config } from '../config/config.ts';
import { AdminSocketError } from '../listener/admin-socket.ts';
import type { Log } from '../telemetry/log.ts';
import { type Composition, compose } from './compose.ts';
import type { BrokerInput } from './foundation.ts';

/** A running broker. */
export interface Broker {
  /** Answers accepted requests, and stops. Resolves when everything has stopped. */
  stop(): Promise<void>;
}

/**
 * Builds a broker and starts it.
 *
 * @throws ListenError, KubeconfigError, NoApiServerError, TraceConfigError: it cannot run with this
 *   configuration. What had been started has been stopped.
 */
export async function startBroker(input: Omit<BrokerInput, 'stops'>): Promise<Broker> {
  const { config, log, signal } = input;
  await using stops = new AsyncDisposableStack();
  const broker = await compose({ ...input, stops });
  startInBackground(broker, config);
  await startAnswering(broker, config, log);
  if (!signal.aborted) {
    log.info({ clusterName: config.clusterName, sessionScope: config.sessionScope }, 'ready');
    // Not awaited: the broker answers whatever the API server does.
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

/** Starts what need not be awaited. */
function startInBackground(
  { watch, issuer, workers, credentials, caller }: Composition,
  config: Config,
): void {
  watch.start();
  issuer.start(config.tokenIssuer, workers.started());
  credentials.start();
  caller.warmUp();
}

/** Takes over from a running broker, if there is one, and opens the sockets, the pods' first. */
async function startAnswering(
  { store, succession, workers, listener, admin }: Composition,
  config: Config,
  log: Log,
): Promise<void> {
  // Pods are answered once the stored sessions are loaded, or loading takes too long.
  const [predecessor] = await Promise.all([succession.succeed(), store?.start()]);
  // While the predecessor answers, this broker can wait until its workers are ready.
  if (predecessor !== undefined) await workers.started();
  const listening = listener.start(
    predecessor,
    (address) => void succession.reportPortTaken(address),
  );
  await Promise.all([
    listening,
    workers.started(),
    // By then the predecessor has closed its own.
    (predecessor === undefined ? admin.start() : listening.then(() => admin.start())).catch(
      (error: unknown) => {
        if (!(error instanceof AdminSocketError)) throw error;
        if (error.inUse) succession.reportOtherBroker(error.message);
        if (config.adminSocketNamed) throw error;
        log.warn({ reason: error.message }, 'going on without an admin socket');
      },
    ),
  ]);
}
