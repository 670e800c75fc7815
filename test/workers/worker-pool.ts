import type { Test } from 'tap';
import { systemClock } from '../../src/clock.ts';
import { silentLog } from '../../src/telemetry/log.ts';
import { WorkerPool, type WorkerPoolOptions } from '../../src/workers/pool.ts';
import type { WorkerSettings } from '../../src/workers/settings.ts';

/** Real worker threads with the real tasks, until the test is over. */
export async function startPool(
  t: Pick<Test, 'teardown'>,
  settings: Partial<WorkerSettings> = {},
  options: Partial<WorkerPoolOptions> = {},
): Promise<WorkerPool> {
  const pool = new WorkerPool({
    threads: 1,
    clock: systemClock,
    log: silentLog,
    onReplaced: () => undefined,
    settings: {
      clusterName: 'simulated',
      endpoint: undefined,
      fips: false,
      connectTimeout: 1_000,
      attemptTimeout: 10_000,
      userAgent: 'test',
      environment: {},
      caBundle: undefined,
      ...settings,
    },
    ...options,
  });
  t.teardown(() => pool.close());
  await pool.started();
  return pool;
}
