import type { Clock } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { PodGate } from '../identity/pod-gate.ts';
import type { ApiClient } from '../kubernetes/api-client.ts';
import { NodePods } from '../kubernetes/node-pods.ts';
import { PodLookup } from '../kubernetes/pod-lookup.ts';
import { PodWatch } from '../kubernetes/pod-watch.ts';
import { OwnAddresses } from '../network/own-addresses.ts';
import { Departures } from '../sessions/departures.ts';
import type { RoleSessions } from '../sessions/role-sessions.ts';
import type { Metrics } from '../telemetry/metrics/metrics.ts';
import type { RepeatedFaults } from '../telemetry/repeated-faults.ts';

/** What the broker knows about this node's pods. */
export interface PodAwareness {
  readonly gate: PodGate;
  /** Number of known pods. */
  readonly known: number;
  /** Whether the watch is connected. */
  readonly connected: boolean;
  /** Whether a pod is known to be alive on the node. */
  isLive(uid: string): boolean;
  stop(): void;
}

/** Input of {@link watchPods}. */
export interface PodAwarenessOptions {
  readonly client: ApiClient;
  readonly config: Config;
  readonly nodeName: string;
  readonly mode: 'audit' | 'enforce';
  readonly clock: Clock;
  readonly faults: RepeatedFaults;
  readonly metrics: Metrics;
  readonly sessions: RoleSessions;
}

/**
 * Starts to watch this node's pods, and builds the gate that checks requests against them. This
 * module is imported only if pods are watched.
 */
export function watchPods(options: PodAwarenessOptions): PodAwareness {
  const { client, config, nodeName, mode, clock, faults, metrics, sessions } = options;
  const departures = new Departures({ clock, sessions });
  const pods: NodePods = new NodePods({ onLeft: (pod) => departures.left(pod, pods) });
  const counted = metrics.observePods({
    pods: () => pods.size,
    connected: () => watch.connected,
  });
  const watch: PodWatch = new PodWatch({
    client,
    nodeName,
    pods,
    clock,
    faults,
    random: Math.random,
    onListed: () => counted.lists.inc(),
  });
  const own = new OwnAddresses(clock);
  const gate = new PodGate({
    clock,
    faults,
    pods,
    lookup: new PodLookup({
      client,
      clock,
      onLookup: (found) =>
        counted.lookups.inc({ result: found === 'away' ? 'unreachable' : found }),
    }),
    connected: () => watch.connected,
    firstList: watch.settled,
    nodeName,
    isOwn: (address) => own.has(address),
    mode,
    strict: config.strictAddress,
    onFinding: (finding) => counted.findings.inc({ finding }),
  });
  watch.start();
  return {
    gate,
    get known() {
      return pods.size;
    },
    get connected() {
      return watch.connected;
    },
    isLive: (uid) => pods.isLive(uid),
    stop() {
      watch.stop();
      departures.stop();
    },
  };
}
