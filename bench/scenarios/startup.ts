import type { RemotePod } from '../../src/simulator/control-client.ts';
import { startBroker } from '../harness/broker.ts';
import { startCluster } from '../harness/cluster.ts';
import { createPods } from '../harness/pods.ts';
import { residentKiB } from '../harness/process-stats.ts';
import { checkAnswers } from '../harness/right-answers.ts';
import { spread } from '../harness/statistics.ts';
import { milliseconds } from '../report/format.ts';
import type { Scenario } from '../scenario.ts';
import { askAll } from './hit-path-servers.ts';

/** From exec until the program is ready, and what it holds then. */
export const startup: Scenario = {
  name: 'startup',
  shows: 'the time from exec of the built program until /readyz answers 200',
  async run(bench) {
    const { config, cores, progress } = bench;
    await using cluster = await startCluster({ seed: config.seed });
    const [pod] = await createPods(cluster.simulator, { pods: 1, serviceAccounts: 1 });
    const { runs } = config.startup;
    const times: number[] = [];
    const resident: number[] = [];
    // The first start reads the files from the disk; it is not counted.
    for (let run = 0; run <= runs; run += 1) {
      await using broker = await startBroker(bench, cluster.simulator, {
        core: cores?.target,
        probeInterval: 2,
      });
      const mib = residentKiB(broker.pid) / 1_024;
      // What is ready has to be able to answer.
      await checkAnswers(cluster.simulator, await askAll(broker.address, [pod as RemotePod]));
      if (run === 0) continue;
      times.push(broker.readyAfter);
      resident.push(mib);
      progress(`run ${run} of ${runs}: ready after ${milliseconds(broker.readyAfter)}`);
    }
    const time = spread(times);
    const memory = spread(resident);
    return {
      headlines: [`ready ${milliseconds(time.median)} after exec`],
      tables: [
        {
          title: 'startup: from exec until /readyz answers 200, on one core',
          columns: ['', 'median', 'least', 'most'],
          rows: [
            ['ready after', ...[time.median, time.min, time.max].map(milliseconds)],
            [
              'resident when ready',
              ...[memory.median, memory.min, memory.max].map((mib) => `${mib.toFixed(0)} MiB`),
            ],
          ],
        },
      ],
      charts: [],
      figures: { readyAfterMs: times, residentMiB: resident },
    };
  },
};
