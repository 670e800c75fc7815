import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { TRACES_PATH, type TraceLimits, TraceReceiver } from './trace-receiver.ts';

/** Traces that are being collected. */
export interface TraceCollecting {
  /** `http://host:port`, for `OTEL_EXPORTER_OTLP_ENDPOINT`. */
  readonly url: string;
  /** What a broker's environment needs for all of its traces to come here. */
  readonly environment: Readonly<Record<string, string>>;
  readonly receiver: TraceReceiver;
  /** Stops receiving and writes what is left; once the broker has ended. */
  close(): Promise<void>;
}

/** Where to collect, and how much. */
export interface CollectOptions extends Partial<TraceLimits> {
  /** Address to listen on; default 127.0.0.1. */
  readonly host?: string;
  /** Default 0: any free one. */
  readonly port?: number;
}

/**
 * Collects the traces of a broker in a file, on a port of its own. In order: collect, start the
 * broker with {@link TraceCollecting.environment}, have it work, stop it with SIGTERM (it sends
 * what is pending), close; then `writeTracePage(file, page)` makes a page of it.
 *
 * @param file - An OTLP request as JSON on each line; what was in it is lost.
 */
export async function collectTracesTo(
  file: string,
  { host = '127.0.0.1', port = 0, ...limits }: CollectOptions = {},
): Promise<TraceCollecting> {
  const receiver = new TraceReceiver(file, limits);
  const server = createServer((request, response) => {
    if (request.url === TRACES_PATH) receiver.handle(request, response);
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const { address, family, port: bound } = server.address() as AddressInfo;
  const url = `http://${family === 'IPv6' ? `[${address}]` : address}:${bound}`;
  return {
    url,
    environment: traceEnvironment(url),
    receiver,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
      await receiver.close();
    },
  };
}

/**
 * The environment of a broker that sends all of its traces to a receiver, soon.
 *
 * @param url - The receiver's, without the path.
 */
export function traceEnvironment(url: string): Record<string, string> {
  return {
    OTEL_EXPORTER_OTLP_ENDPOINT: url,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf',
    OTEL_TRACES_SAMPLER: 'always_on',
    OTEL_BSP_SCHEDULE_DELAY: '200',
    // Room for a burst: what finds the queue full is lost.
    OTEL_BSP_MAX_QUEUE_SIZE: '65536',
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '2048',
  };
}
