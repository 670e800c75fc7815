import { DiagLogLevel, diag, propagation } from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
} from '@opentelemetry/resources';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ConsoleSpanExporter,
  ParentBasedSampler,
  type Sampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { ATTR_SERVICE_NAME, ATTR_SERVICE_VERSION } from '@opentelemetry/semantic-conventions';
import type { Log } from './log.ts';
import { scrub } from './scrub.ts';
import { TraceSampling } from './trace-sampling.ts';
import type { SpanSource } from './tracing.ts';

// The OpenTelemetry SDK by its standard variables. This file, and with it the SDK, is loaded
// only where they ask for traces.

/** Name of the instrumentation scope, and of the service where none is given. */
const SERVICE = 'pod-identity-broker';

/** Part of the traces kept on a node where nobody said otherwise: hits are many and alike. */
const DEFAULT_RATIO = 0.01;

/** A running SDK. */
export interface TraceCollection extends SpanSource {
  /** Sends what is pending, and ends. */
  shutdown(): Promise<void>;
}

/** A variable whose value cannot be used; `message` names it. */
export class TraceConfigError extends Error {
  override readonly name = 'TraceConfigError';
  readonly code = 'ERR_TRACE_CONFIG';
}

/**
 * Starts the SDK.
 *
 * @param environment - `OTEL_TRACES_EXPORTER` (`otlp`, `console`), `OTEL_EXPORTER_OTLP_*`,
 *   `OTEL_TRACES_SAMPLER` (default `parentbased_traceidratio`) with `OTEL_TRACES_SAMPLER_ARG`
 *   (default 0.01), `OTEL_BSP_*`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`.
 * @throws TraceConfigError
 * @see https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
 */
export async function startTraceCollection(
  environment: NodeJS.ProcessEnv,
  version: string,
  log: Log,
): Promise<TraceCollection> {
  const warn = (message: string) => log.warn({ reason: scrub(message) }, 'traces');
  diag.setLogger(
    { error: warn, warn, info: () => {}, debug: () => {}, verbose: () => {} },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  const resource = defaultResource()
    .merge(
      resourceFromAttributes({ [ATTR_SERVICE_NAME]: SERVICE, [ATTR_SERVICE_VERSION]: version }),
    )
    .merge(detectResources({ detectors: [envDetector] }));
  const sampling = new TraceSampling(sampler(environment));
  const provider = new TracerProvider({
    resource,
    sampler: sampling.sampler,
    idGenerator: sampling,
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: await exporter(environment),
        ...batching(environment),
      }),
    ],
  });
  return {
    tracer: provider.getTracer(SERVICE, version),
    samples: (parent) => sampling.samples(parent),
    shutdown: () => provider.shutdown(),
  };
}

async function exporter(environment: NodeJS.ProcessEnv): Promise<SpanExporter> {
  const name = environment.OTEL_TRACES_EXPORTER?.trim() || 'otlp';
  if (name === 'console') return new ConsoleSpanExporter();
  if (name !== 'otlp') {
    throw new TraceConfigError(
      `OTEL_TRACES_EXPORTER: ${JSON.stringify(name)} is not supported (otlp, console, none)`,
    );
  }
  checkEndpoints(environment);
  const protocol =
    environment.OTEL_EXPORTER_OTLP_TRACES_PROTOCOL ||
    environment.OTEL_EXPORTER_OTLP_PROTOCOL ||
    'http/protobuf';
  switch (protocol) {
    case 'http/protobuf': {
      const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-proto');
      return new OTLPTraceExporter();
    }
    case 'http/json': {
      const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-http');
      return new OTLPTraceExporter();
    }
    default:
      throw new TraceConfigError(
        `OTEL_EXPORTER_OTLP_PROTOCOL: ${JSON.stringify(protocol)} is not supported (http/protobuf, http/json)`,
      );
  }
}

/** The exporter takes an endpoint that it cannot read for the default one. */
function checkEndpoints(environment: NodeJS.ProcessEnv): void {
  for (const name of ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'OTEL_EXPORTER_OTLP_ENDPOINT']) {
    const text = environment[name];
    if (!text) continue;
    if (!/^https?:$/.test(URL.parse(text)?.protocol ?? '')) {
      throw new TraceConfigError(`${name} must be a URL that begins with http:// or https://`);
    }
  }
}

function sampler(environment: NodeJS.ProcessEnv): Sampler {
  const name = environment.OTEL_TRACES_SAMPLER || 'parentbased_traceidratio';
  const given = environment.OTEL_TRACES_SAMPLER_ARG;
  const ratio = given === undefined || given === '' ? DEFAULT_RATIO : Number(given);
  if (!(ratio >= 0 && ratio <= 1)) {
    throw new TraceConfigError('OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1');
  }
  const bare = bareSampler(name.replace(/^parentbased_/, ''), ratio);
  if (bare === undefined) {
    throw new TraceConfigError(`OTEL_TRACES_SAMPLER: ${JSON.stringify(name)} is not known`);
  }
  return name.startsWith('parentbased_') ? new ParentBasedSampler({ root: bare }) : bare;
}

function bareSampler(name: string, ratio: number): Sampler | undefined {
  switch (name) {
    case 'always_on':
      return new AlwaysOnSampler();
    case 'always_off':
      return new AlwaysOffSampler();
    case 'traceidratio':
      return new TraceIdRatioBasedSampler(ratio);
    default:
      return undefined;
  }
}

function batching(environment: NodeJS.ProcessEnv): {
  maxExportBatchSize?: number;
  scheduledDelayMillis?: number;
  exportTimeoutMillis?: number;
  maxQueueSize?: number;
} {
  const read = (name: string): number | undefined => {
    const text = environment[name];
    if (text === undefined || text === '') return undefined;
    const value = Number(text);
    if (!(Number.isInteger(value) && value > 0)) {
      throw new TraceConfigError(`${name} must be a whole number above zero`);
    }
    return value;
  };
  const given = {
    maxExportBatchSize: read('OTEL_BSP_MAX_EXPORT_BATCH_SIZE'),
    scheduledDelayMillis: read('OTEL_BSP_SCHEDULE_DELAY'),
    exportTimeoutMillis: read('OTEL_BSP_EXPORT_TIMEOUT'),
    maxQueueSize: read('OTEL_BSP_MAX_QUEUE_SIZE'),
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}
