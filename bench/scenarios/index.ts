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

/** The scenarios one after the other. */
export function alone(scenarios: readonly Scenario[]): Scenario[][] {
  return scenarios.map((scenario) => [scenario]);
}

/** The same, but those that mostly wait and follow one another all at once. */
export function waitingTogether(scenarios: readonly Scenario[]): Scenario[][] {
  const groups: Scenario[][] = [];
  for (const scenario of scenarios) {
    const last = groups.at(-1);
    if (scenario.mostlyWaits && last?.at(-1)?.mostlyWaits) last.push(scenario);
    else groups.push([scenario]);
  }
  return groups;
}
