import type { Scenario } from '../scenario.ts';
import { burst } from './burst.ts';
import { churn } from './churn.ts';
import { cluster } from './cluster.ts';
import { density } from './density.ts';
import { fleet } from './fleet.ts';
import { hitPath } from './hit-path.ts';
import { outage } from './outage.ts';
import { restart } from './restart.ts';
import { rotation } from './rotation.ts';
import { slow } from './slow.ts';
import { startup } from './startup.ts';
import { storm } from './storm.ts';

/** All scenarios, in the order in which they run. */
export const SCENARIOS: readonly Scenario[] = [
  hitPath,
  density,
  storm,
  rotation,
  churn,
  outage,
  slow,
  restart,
  cluster,
  fleet,
  burst,
  startup,
];
