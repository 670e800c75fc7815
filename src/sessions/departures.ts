import type { Clock, DurationMs, Timer } from '../clock.ts';
import type { NodePods } from '../kubernetes/node-pods.ts';
import type { PodFacts } from '../kubernetes/pod.ts';
import type { RoleSessions } from './role-sessions.ts';
import type { Session } from './session.ts';

/** How long a session without pods is kept: the next job of a series may need it. */
const END_DELAY: DurationMs = 10_000;

/** What {@link Departures} is made from. */
export interface DeparturesOptions {
  readonly clock: Clock;
  readonly sessions: Pick<RoleSessions, 'forgetPod' | 'flush'>;
}

/** Ends sessions whose last pod has left the node. */
export class Departures {
  readonly #options: DeparturesOptions;
  readonly #timers = new Set<Timer>();

  constructor(options: DeparturesOptions) {
    this.#options = options;
  }

  /** A pod has left the node: its tokens are not used any more, and its session may end in 10 s. */
  left(pod: PodFacts, pods: Pick<NodePods, 'hasLive'>): void {
    const { clock, sessions } = this.#options;
    sessions.forgetPod(pod.uid);
    const timer = clock.setTimeout(() => {
      this.#timers.delete(timer);
      const noPodLeft = !pods.hasLive(pod.namespace, pod.serviceAccount);
      sessions.flush(
        (session) => isOfServiceAccount(session, pod) && hasNoPod(session, pod, noPodLeft),
      );
    }, END_DELAY);
    timer.unref();
    this.#timers.add(timer);
  }

  stop(): void {
    for (const timer of this.#timers) this.#options.clock.clearTimeout(timer);
    this.#timers.clear();
  }
}

function isOfServiceAccount({ namespace, serviceAccount }: Session, pod: PodFacts): boolean {
  return namespace === pod.namespace && serviceAccount === pod.serviceAccount;
}

/** @param noPodLeft - Whether the service account has no pod on the node any more. */
function hasNoPod({ scope, key, tokens }: Session, { uid }: PodFacts, noPodLeft: boolean): boolean {
  if (scope === 'service-account') return noPodLeft;
  return scope === 'pod' ? key.endsWith(`/${uid}`) : tokens.size === 0;
}
