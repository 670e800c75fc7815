import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../src/simulator/free-port.ts';
import { ask } from './ask.ts';

/** A sample: the labels of its series, and its value. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A Prometheus on loopback. */
export interface Prometheus {
  readonly port: number;
  /** An instant query that gives a vector; nothing while it does not answer yet. */
  query(expression: string): Promise<Sample[]>;
}

/** Starts a Prometheus that scrapes every second, and goes by these rules; it ends with the test. */
export async function startPrometheus(
  t: { teardown(callback: () => Promise<unknown>): unknown },
  { targets, rules }: { readonly targets: readonly number[]; readonly rules?: string },
): Promise<Prometheus> {
  const folder = mkdtempSync(join(tmpdir(), 'prometheus-'));
  const port = await freePort();
  const config = {
    global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
    rule_files: rules === undefined ? [] : ['rules.yaml'],
    scrape_configs: [
      {
        job_name: 'broker',
        static_configs: [{ targets: targets.map((target) => `127.0.0.1:${target}`) }],
      },
    ],
  };
  // JSON is YAML.
  writeFileSync(join(folder, 'prometheus.yaml'), JSON.stringify(config));
  if (rules !== undefined) writeFileSync(join(folder, 'rules.yaml'), rules);
  const prometheus = spawn(
    'prometheus',
    [
      `--config.file=${join(folder, 'prometheus.yaml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--log.level=error',
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  const ended = new Promise((resolve) => prometheus.once('close', resolve));
  t.teardown(async () => {
    prometheus.kill('SIGKILL');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    port,
    async query(expression) {
      const path = `/api/v1/query?query=${encodeURIComponent(expression)}`;
      const answer = await ask(port, path, 'GET', {}).catch(() => undefined);
      if (answer?.status === 400) throw new Error(answer.text);
      type Result = { metric: Record<string, string>; value: [number, string] };
      const results: Result[] = answer?.body?.data?.result ?? [];
      return results.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }));
    },
  };
}
