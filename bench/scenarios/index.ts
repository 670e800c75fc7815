import type { Scenario } from '../scenario.ts';
import { burst } from './burst.ts';
import { density } from './density.ts';
import { hitPath } from './hit-path.ts';
import { startup } from './startup.ts';

/** All scenarios, in the order in which they run. */
export const SCENARIOS: readonly Scenario[] = [hitPath, density, burst, startup];
