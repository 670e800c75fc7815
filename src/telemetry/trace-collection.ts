import type { Log } from './log.ts';
import type { Tracing } from './tracing.ts';

/**
 * Whether the standard variables ask for traces: an exporter, or an endpoint to send them to.
 *
 * @see https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
 */
export function asksForTraces(environment: NodeJS.ProcessEnv): boolean {
  if (/^true$/i.test(environment.OTEL_SDK_DISABLED ?? '')) return false;
  const exporter = environment.OTEL_TRACES_EXPORTER?.trim();
  // What cannot be done is said where it is tried.
  if (exporter) return exporter !== 'none';
  return Boolean(
    environment.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT || environment.OTEL_EXPORTER_OTLP_ENDPOINT,
  );
}

/** Traces that are collected. */
export interface CollectedTraces {
  readonly tracing: Tracing;
  /** Sends what is pending, and ends. */
  shutdown(): Promise<void>;
}

/**
 * Starts to collect traces where the environment asks for it; otherwise nothing of OpenTelemetry
 * is loaded.
 *
 * @param trustTraceparent - See {@link Tracing}.
 * @throws TraceConfigError naming the variable that cannot be used.
 */
export async function collectTraces(
  environment: NodeJS.ProcessEnv,
  version: string,
  log: Log,
  trustTraceparent: boolean,
): Promise<CollectedTraces | undefined> {
  if (!asksForTraces(environment)) return undefined;
  const [{ startTraceCollection }, { Tracing }] = await Promise.all([
    import('./otel-sdk.ts'),
    import('./tracing.ts'),
  ]);
  const collection = await startTraceCollection(environment, version, log);
  return {
    tracing: new Tracing(collection, trustTraceparent),
    shutdown: () => collection.shutdown(),
  };
}
