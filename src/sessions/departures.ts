import type { Clock, DurationMs, Timer } from '../clock.ts';
import type { NodePods } from '../kubernetes/node-pods.ts';
import type { PodFacts } from '../kubernetes/pod.ts';
import type { RoleSessions } from './role-sessions.ts';
import type { Session } from './session.ts';

/** How long a session is kept that has no pod any more: the next of a row of jobs may come. */
const LET_GO_AFTER: DurationMs = 10_000;

/** What {@link Departures} is made from. */
export interface DeparturesOptions {
  readonly clock: Clock;
  readonly sessions: Pick<RoleSessions, 'forgetPod' | 'flush'>;
}

/** Lets go of sessions whose last pod has left the node. */
export class Departures {
  readonly #options: DeparturesOptions;
  readonly #timers = new Set<Timer>();

  constructor(options: DeparturesOptions) {
    this.#options = options;
  }

  /** A pod has left: from now on nothing is fetched or renewed with its tokens. */
  left(pod: PodFacts, pods: Pick<NodePods, 'hasLive'>): void {
    const { clock, sessions } = this.#options;
    sessions.forgetPod(pod.uid);
    const timer = clock.setTimeout(() => {
      this.#timers.delete(timer);
      const deserted = !pods.hasLive(pod.namespace, pod.serviceAccount);
      sessions.flush((session) => isOf(session, pod) && isOver(session, pod, deserted));
    }, LET_GO_AFTER);
    timer.unref();
    this.#timers.add(timer);
  }

  stop(): void {
    for (const timer of this.#timers) this.#options.clock.clearTimeout(timer);
    this.#timers.clear();
  }
}

function isOf({ namespace, serviceAccount }: Session, pod: PodFacts): boolean {
  return namespace === pod.namespace && serviceAccount === pod.serviceAccount;
}

/** @param deserted - No pod of the service account is left. */
function isOver({ scope, key, tokens }: Session, { uid }: PodFacts, deserted: boolean): boolean {
  if (scope === 'service-account') return deserted;
  return scope === 'pod' ? key.endsWith(`/${uid}`) : tokens.size === 0;
}
