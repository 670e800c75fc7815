import type { Config } from '../config/config.ts';
import { AdminSocketError } from '../listener/admin-socket.ts';
import { type Composition, compose } from './compose.ts';
import type { BrokerInput } from './context.ts';

/** What a broker is started with. */
type StartInput = Omit<BrokerInput, 'stops'>;

/** A running broker. */
export interface Broker {
  /** Answers accepted requests, and stops. Resolves when everything has stopped. */
  stop(): Promise<void>;
}

/**
 * Builds a broker and starts it.
 *
 * @throws CaBundleError, ListenError, KubeconfigError, NoApiServerError, TraceConfigError: it cannot
 *   run with this configuration. What had been started has been stopped.
 */
export async function startBroker(input: StartInput): Promise<Broker> {
  const { config, log, signal } = input;
  await using stops = new AsyncDisposableStack();
  const broker = await compose({ ...input, stops });
  startInBackground(broker, config);
  await startAnswering(broker, input);
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
  broker: Composition,
  { config, log, signal }: StartInput,
): Promise<void> {
  const { store, succession, workers, listener } = broker;
  // Pods are answered once the stored sessions are loaded, or loading takes too long.
  const [predecessor] = await Promise.all([succession.succeed(), store?.start()]);
  // While the predecessor answers, this broker can wait until its workers are ready.
  if (predecessor !== undefined) await workers.started();
  const listening = listener.start(predecessor, async (address) => {
    const found = await succession.portTaken(address);
    if (found !== undefined) await workers.started();
    return found;
  });
  await Promise.all([
    listening,
    workers.started(),
    openAdminSocket(broker, listening, signal).catch((error: unknown) => {
      if (!(error instanceof AdminSocketError) || config.adminSocketNamed) throw error;
      log.warn({ reason: error.message }, 'going on without an admin socket');
    }),
  ]);
}

/**
 * Opens the admin socket once this broker answers pods, or is found to wait for a program of
 * another kind. Beside a broker it must not: that one may need it to hand over. Where another has
 * the socket all the same, it is opened when this one answers: by then that one has ended.
 *
 * @throws AdminSocketError
 */
async function openAdminSocket(
  { admin, succession }: Composition,
  listening: Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  await Promise.race([listening, succession.waitsForOther]);
  if (signal.aborted) return;
  try {
    await admin.start();
  } catch (error) {
    if (!(error instanceof AdminSocketError && error.inUse)) throw error;
    succession.reportOtherBroker(error.message);
    await listening;
    if (!signal.aborted) await admin.start();
  }
}
