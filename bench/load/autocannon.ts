import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import autocannon from 'autocannon';
import { percentile } from '../harness/statistics.ts';
import { type HttpLoad, type HttpLoadResult, PERCENTILES } from './http-load.ts';
import { POD_HOST } from './one-try.ts';

/** The version of autocannon. */
export function autocannonVersion(): string {
  const file = createRequire(import.meta.url).resolve('autocannon/package.json');
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

/** Runs a load with autocannon, for where wrk is not installed. */
export async function loadWithAutocannon(load: HttpLoad): Promise<HttpLoadResult> {
  const { tokens, connection } = load;
  const run = autocannon({
    url: `http://${load.target.host}:${load.target.port}`,
    connections: load.connections,
    duration: load.duration / 1_000,
    timeout: 10,
    ...(connection === 'close' && { reconnectRate: 1 }),
    requests: tokens.map((token) => ({
      path: '/v1/credentials',
      headers: { Authorization: token, Connection: connection, Host: POD_HOST },
    })),
  });
  const latencies: number[] = [];
  run.on('response', (_client: unknown, _status: number, _bytes: number, took: number) => {
    latencies.push(took);
  });
  const result = await run;
  latencies.sort((left, right) => left - right);
  return {
    requests: latencies.length,
    seconds: result.duration,
    bytes: result.throughput.total,
    failed: result.errors,
    refused: result.non2xx,
    p50: percentile(latencies, 50),
    p99: percentile(latencies, 99),
    p999: percentile(latencies, 99.9),
    distribution: PERCENTILES.map((part) => percentile(latencies, part)),
  };
}
