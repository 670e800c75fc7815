import { readFileSync } from 'node:fs';
import { listOf, number, object, type Reader, record } from '../../src/simulator/read-json.ts';

const whole = (min: number, max: number) => number({ min, max, integer: true });
/** Seconds in a configuration: long enough to measure, short enough to end. */
const seconds = number({ min: 1, max: 3_600 });
const pods = whole(1, 10_000);
const latency = number({ min: 0, max: 60_000 });

const shape = {
  seed: whole(0, 2 ** 32 - 1),
  'hit-path': object({
    tokens: whole(1, 10_000),
    serviceAccounts: whole(1, 1_000),
    connections: whole(1, 1_000),
    rounds: whole(1, 100),
    turnSeconds: seconds,
    warmUpSeconds: seconds,
  }),
  density: object({
    latency,
    combinations: listOf(
      object({ pods, processes: whole(1, 16), serviceAccounts: whole(1, 1_000) }),
    ),
  }),
  burst: object({
    latency,
    pods,
    serviceAccounts: whole(1, 1_000),
    hitsPerSecond: whole(1, 100_000),
    connections: whole(1, 1_000),
    newTokens: whole(1, 100_000),
    seconds,
  }),
  startup: object({ runs: whole(1, 100) }),
} satisfies Record<string, Reader<unknown>>;

/** What to measure, and how; every field is described in `bench/README.md`. */
export type BenchConfig = ReturnType<typeof readShape>;
const readShape = object(shape);

/** How a configuration departs from the file. */
export interface ConfigChanges {
  /** Lays the file's `quick` over the rest. */
  readonly quick: boolean;
  /** `key=value` each, as `hit-path.rounds=3`; values in JSON. */
  readonly set: readonly string[];
}

/**
 * Reads a configuration.
 *
 * @param file - Path of a JSON file.
 * @throws TypeError that names the field.
 */
export function readConfig(file: string, changes: ConfigChanges): BenchConfig {
  const { quick, ...rest } = record(JSON.parse(readFileSync(file, 'utf8')), 'the configuration');
  const config = changes.quick && quick !== undefined ? merge(rest, record(quick, 'quick')) : rest;
  for (const change of changes.set) setField(config, change);
  return readShape(config, '');
}

function merge(
  base: Record<string, unknown>,
  over: Record<string, unknown>,
): Record<string, unknown> {
  const merged = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const below = merged[key];
    merged[key] = isRecord(below) && isRecord(value) ? merge(below, value) : value;
  }
  return merged;
}

function setField(config: Record<string, unknown>, change: string): void {
  const [, path, text] = /^([^=]+)=(.*)$/s.exec(change) ?? [];
  if (path === undefined || text === undefined) {
    throw new TypeError(`--set takes key=value, not ${JSON.stringify(change)}`);
  }
  const keys = path.split('.');
  const last = keys.pop() as string;
  let target = config;
  for (const key of keys) {
    const below = target[key];
    if (!isRecord(below)) throw new TypeError(`${path} is not known`);
    target = below;
  }
  target[last] = parseValue(text);
}

function parseValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
