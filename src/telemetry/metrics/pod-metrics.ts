import type { Counter, Registry } from 'prom-client';
import { counter, readGauge } from './declare.ts';

/** What requests are found to be where pods are watched, as it is labelled. */
const POD_FINDINGS = ['not-on-node', 'not-live', 'wrong-address', 'unknown-address', 'unchecked'];
/** How a question about a pod ends, as it is labelled. */
const LOOKUP_RESULTS = ['pod', 'absent', 'unreachable'];

/** What is read off the watch of pods. */
export interface PodSources {
  readonly pods: () => number;
  readonly connected: () => boolean;
}

/** The metrics of this node's pods; they are there only where pods are watched. */
export class PodMetrics {
  readonly findings: Counter<'finding'>;
  readonly lookups: Counter<'result'>;
  readonly lists: Counter;

  constructor(registry: Registry, sources: PodSources) {
    this.findings = counter(registry, {
      name: 'pod_identity_broker_pod_findings_total',
      help: 'Requests that were not from a live pod of this node at its own address (refused with --watch-pods=enforce), or whose pod could not be checked, by what was found',
      labels: ['finding'],
    });
    for (const finding of POD_FINDINGS) this.findings.inc({ finding }, 0);
    this.lookups = counter(registry, {
      name: 'pod_identity_broker_pod_lookups_total',
      help: 'Pods asked for at the API server because the watch had not told of them: there (pod), not there (absent), no answer (unreachable)',
      labels: ['result'],
    });
    for (const result of LOOKUP_RESULTS) this.lookups.inc({ result }, 0);
    this.lists = counter(registry, {
      name: 'pod_identity_broker_pod_lists_total',
      help: 'Times that the pods of the node were listed: once, and when a watch could not be resumed',
    });
    readGauge(
      registry,
      {
        name: 'pod_identity_broker_watched_pods',
        help: 'Pods of the node that are known, those that have ended included',
      },
      sources.pods,
    );
    readGauge(
      registry,
      {
        name: 'pod_identity_broker_pod_watch_connected',
        help: '1 while the pods of the node are watched; 0 while the broker goes by what it knew',
      },
      () => Number(sources.connected()),
    );
  }
}
