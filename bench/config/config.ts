import { readFileSync } from 'node:fs';
import { SESSION_SCOPES } from '../../src/config/config.ts';
import {
  listOf,
  nullable,
  number,
  object,
  oneOf,
  type Reader,
  record,
} from '../../src/simulator/read-json.ts';

const whole = (min: number, max: number) => number({ min, max, integer: true });
/** Seconds in a configuration: long enough to measure, short enough to end. */
const seconds = number({ min: 1, max: 3_600 });
const pods = whole(1, 10_000);
const serviceAccounts = whole(1, 1_000);
const perSecond = number({ min: 0.1, max: 10_000 });
/** Milliseconds of a log-normal distribution. */
const latency = object({
  median: number({ min: 1, max: 60_000 }),
  sigma: number({ min: 0, max: 3 }),
});
const quota = object({ rate: number({ min: 0.1, max: 1e6 }), burst: whole(1, 1_000_000) });
/** EKS Auth as a scenario finds it; `quota` may be `null`: none. */
const eksAuth = { latency, quota: nullable(quota) };

/** A list that is not empty: without an entry there would be nothing to show. */
function someOf<T>(reader: Reader<T>): Reader<[T, ...T[]]> {
  const list = listOf(reader);
  return (value, name) => {
    const [first, ...others] = list(value, name);
    if (first === undefined) throw new TypeError(`${name} must have at least one entry`);
    return [first, ...others];
  };
}

const shape = {
  seed: whole(0, 2 ** 32 - 1),
  peer: object({ rounds: whole(1, 100) }),
  'hit-path': object({
    tokens: whole(1, 10_000),
    serviceAccounts,
    connections: whole(1, 1_000),
    rounds: whole(1, 100),
    turnSeconds: seconds,
    warmUpSeconds: seconds,
  }),
  density: object({
    ...eksAuth,
    combinations: someOf(object({ pods, processes: whole(1, 16), serviceAccounts })),
  }),
  burst: object({
    ...eksAuth,
    pods,
    serviceAccounts,
    hitsPerSecond: whole(1, 100_000),
    connections: whole(1, 1_000),
    connectingPerSecond: whole(1, 10_000),
    newTokens: whole(1, 100_000),
    seconds,
  }),
  startup: object({ runs: whole(1, 100) }),
  storm: object({
    pods,
    serviceAccounts,
    perSecond,
    patienceMs: whole(1, 60_000),
    latency,
    quota,
  }),
  rotation: object({
    pods,
    processes: whole(1, 16),
    serviceAccounts,
    seconds,
    ...eksAuth,
  }),
  churn: object({
    podsPerSecond: whole(1, 1_000),
    seconds,
    lifeSeconds: seconds,
    afterSeconds: seconds,
    renewAfterSeconds: seconds,
    serviceAccounts,
    ...eksAuth,
  }),
  outage: object({
    // Some whose tokens stay, and some whose tokens are replaced.
    pods: whole(2, 10_000),
    serviceAccounts,
    perSecond,
    beforeSeconds: seconds,
    awaySeconds: seconds,
    afterSeconds: seconds,
    ...eksAuth,
  }),
  slow: object({
    ...eksAuth,
    clients: whole(1, 1_000),
    serviceAccounts,
    overSeconds: number({ min: 0, max: 600 }),
  }),
  restart: object({
    ...eksAuth,
    pods,
    serviceAccounts,
    scopes: someOf(oneOf(SESSION_SCOPES)),
    signals: someOf(oneOf(['SIGTERM', 'SIGKILL'])),
  }),
  cluster: object({
    ...eksAuth,
    brokers: whole(2, 100),
    pods,
    serviceAccounts,
    renewAfterSeconds: seconds,
    lifetimes: whole(1, 100),
  }),
  fleet: object({
    nodes: someOf(whole(1, 10_000)),
    node: object({ pods, processes: whole(1, 16), serviceAccounts }),
    rolloutSeconds: seconds,
    quota,
    latency,
    throttleMs: number({ min: 1, max: 60_000 }),
    settleHours: whole(1, 240),
    countHours: whole(1, 240),
  }),
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
  const { quick, ...rest } = record(parseFile(file), 'the configuration');
  const config = changes.quick && quick !== undefined ? merge(rest, record(quick, 'quick')) : rest;
  for (const change of changes.set) setField(config, change);
  return readShape(config, '');
}

function parseFile(file: string): unknown {
  const text = readFileSync(file, 'utf8');
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new TypeError(`${file} is not JSON: ${(error as Error).message}`);
  }
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
    const below = Object.hasOwn(target, key) ? target[key] : undefined;
    if (!isRecord(below)) throw new TypeError(`${path} is not known`);
    target = below;
  }
  // A plain assignment to `__proto__` would not make a field, which then could not be refused.
  const field = { value: parseValue(text), enumerable: true, writable: true, configurable: true };
  Object.defineProperty(target, last, field);
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
