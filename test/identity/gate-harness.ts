import { type Bearer, PodGate, type PodGateOptions } from '../../src/identity/pod-gate.ts';
import { NodePods } from '../../src/kubernetes/node-pods.ts';
import type { LookupResult, SoughtPod } from '../../src/kubernetes/pod-lookup.ts';
import { RepeatedFaults } from '../../src/telemetry/repeated-faults.ts';
import { capturedLog } from '../support/captured-log.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { liveToken } from '../support/sessions-harness.ts';

/** The node's own address. */
export const NODE_ADDRESS = '10.0.0.100';

/** A gate over a real table, and an API server that answers what the test says. */
export function setUp(options: Partial<PodGateOptions> = {}) {
  const clock = new ManualClock();
  const { log, lines } = capturedLog();
  const pods = new NodePods({ onLeft: () => undefined });
  const findings: string[] = [];
  const asked: string[] = [];
  const api: { answer: (sought: SoughtPod) => Promise<LookupResult> } = {
    answer: async () => ({ kind: 'absent' }),
  };
  const watch = { connected: true };
  const gate = new PodGate({
    clock,
    connected: () => watch.connected,
    faults: new RepeatedFaults(clock, log),
    pods,
    lookup: {
      find: (sought) => {
        asked.push(sought.pod);
        return api.answer(sought);
      },
    },
    firstList: Promise.resolve(),
    nodeName: 'node-1',
    isOwn: (address) => address === NODE_ADDRESS,
    mode: 'enforce',
    strict: false,
    onFinding: (finding) => void findings.push(finding),
    ...options,
  });
  const bearer = (pod: string): Bearer => ({
    pod: { ...liveToken(clock, 'cart', pod).pod, podUid: `uid-of-${pod}` },
  });
  /** As a request is served: from memory, else after a judgement. */
  const ask = async (who: Bearer, address: string | undefined) =>
    gate.admits(who, address, clock.now()) ? 'hit' : ((await gate.judge(who, address)) ?? 'judged');
  return { clock, lines, pods, findings, asked, api, watch, gate, bearer, ask };
}
