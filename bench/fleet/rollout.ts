import type { Clock } from '../../src/clock.ts';
import { CallPace } from '../../src/sessions/call-pace.ts';
import type { Random } from '../../src/simulator/random.ts';
import { type Latency, type Quota, sampleLatency } from '../../src/simulator/settings.ts';
import { Throttle } from '../../src/simulator/throttle.ts';
import { EventQueue } from './event-queue.ts';

/** A rollout over a fleet: every node has to make some calls, all within one account's quota. */
export interface Rollout {
  readonly nodes: number;
  /** Calls that a node has to make until all of its pods have credentials. */
  readonly callsPerNode: number;
  /** Over which span pods start; each call is asked for at a random moment in it. */
  readonly spreadMs: number;
  readonly quota: Quota;
  readonly latency: Latency;
  /** How long EKS Auth takes to throttle. */
  readonly throttleMs: number;
  readonly random: Random;
}

/** How a rollout went. */
export interface RolloutResult {
  /** From the first pod's start until the last call's answer. */
  readonly doneAfterMs: number;
  readonly calls: number;
  readonly throttled: number;
  /** It was cut off before it was done, since it would have taken too many calls. */
  readonly cutOff: boolean;
}

/** Calls under way at once from one node, as in the broker's queue. */
const MAX_IN_FLIGHT = 256;
/** The most calls that are simulated. */
const MAX_CALLS = 60_000_000;

/** What happens at a node; the event's payload is `node * 4 + kind`. */
const ARRIVES = 0;
const WAKES = 1;
const GRANTED = 2;
const THROTTLED = 3;

/**
 * Plays a rollout event by event. Each node paces its calls as the broker does, with the
 * broker's own {@link CallPace}; the account's bucket decides which are throttled.
 */
export function playRollout(rollout: Rollout): RolloutResult {
  const { nodes, callsPerNode, spreadMs, quota, latency, throttleMs, random } = rollout;
  let now = 0;
  const clock = { now: () => now, elapsed: () => now } as Clock;
  const events = new EventQueue();
  const throttle = new Throttle();
  const paces = Array.from({ length: nodes }, () => new CallPace(clock));
  const waiting = new Int32Array(nodes);
  const underWay = new Int32Array(nodes);
  const asleep = new Float64Array(nodes).fill(Number.POSITIVE_INFINITY);
  let left = nodes * callsPerNode;
  let calls = 0;
  let throttled = 0;
  for (let node = 0; node < nodes; node += 1) {
    for (let call = 0; call < callsPerNode; call += 1) {
      events.add(random() * spreadMs, node * 4 + ARRIVES);
    }
  }

  const callWhatMayGo = (node: number): void => {
    const pace = paces[node] as CallPace;
    while ((waiting[node] as number) > 0 && (underWay[node] as number) < MAX_IN_FLIGHT) {
      if (pace.earliest > now) {
        if (pace.earliest < (asleep[node] as number)) {
          asleep[node] = pace.earliest;
          events.add(pace.earliest, node * 4 + WAKES);
        }
        return;
      }
      waiting[node] = (waiting[node] as number) - 1;
      underWay[node] = (underWay[node] as number) + 1;
      calls += 1;
      pace.started();
      if (throttle.admits(quota, now)) {
        events.add(now + sampleLatency(latency, random), node * 4 + GRANTED);
      } else {
        throttled += 1;
        events.add(now + throttleMs, node * 4 + THROTTLED);
      }
    }
  };

  while (left > 0 && calls < MAX_CALLS) {
    now = events.time;
    const event = events.take();
    const node = event >> 2;
    const kind = event & 3;
    if (kind === ARRIVES) waiting[node] = (waiting[node] as number) + 1;
    else if (kind === WAKES) asleep[node] = Number.POSITIVE_INFINITY;
    else {
      underWay[node] = (underWay[node] as number) - 1;
      (paces[node] as CallPace).ended(kind === GRANTED ? 'answered' : 'throttled');
      if (kind === GRANTED) left -= 1;
      else waiting[node] = (waiting[node] as number) + 1;
    }
    callWhatMayGo(node);
  }
  return { doneAfterMs: now, calls, throttled, cutOff: left > 0 };
}
