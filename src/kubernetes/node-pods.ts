import type { PodFacts } from './pod.ts';

/**
 * What a judgement of a request was based on. Whoever keeps a judgement keeps this with it: it
 * holds for as long as this says that it is current.
 */
export interface Basis {
  current: boolean;
}

/** A pod of this node. */
export interface NodePod {
  facts: PodFacts;
  /** Current until something about the pod or its addresses changes. */
  basis: Basis;
}

/** Pods held at most; a node has hundreds. What comes beyond is asked for when it is needed. */
const MOST_PODS = 10_000;
/** Pods that have left and are remembered, so that a late answer does not bring them back. */
const MOST_REMEMBERED = 1_000;

/** What {@link NodePods} is made from. */
export interface NodePodsOptions {
  /** Called when a pod has left, or has ended for good. */
  readonly onLeft: (pod: PodFacts) => void;
  /** Pods held at most. Default is 10,000. */
  readonly most?: number | undefined;
}

/** The pods of this node, by uid and by address. */
export class NodePods {
  readonly #options: NodePodsOptions;
  readonly #pods = new Map<string, NodePod>();
  /** Who holds an address now; pods on the host network and finished ones hold none. */
  readonly #holders = new Map<string, NodePod>();
  readonly #left = new Set<string>();
  #basis: Basis = { current: true };

  constructor(options: NodePodsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#pods.size;
  }

  /** Current until anything about any pod changes. */
  get basis(): Basis {
    return this.#basis;
  }

  find(uid: string): NodePod | undefined {
    return this.#pods.get(uid);
  }

  /** The pod that an address belongs to now. */
  holder(address: string): NodePod | undefined {
    return this.#holders.get(address);
  }

  /** Whether a pod of this service account is on the node and has not ended. */
  hasLive(namespace: string, serviceAccount: string): boolean {
    for (const { facts } of this.#pods.values()) {
      if (facts.finished || facts.serviceAccount !== serviceAccount) continue;
      if (facts.namespace === namespace) return true;
    }
    return false;
  }

  /** Whether a pod is on the node and has not ended. */
  isLive(uid: string): boolean {
    const pod = this.#pods.get(uid);
    return pod !== undefined && !pod.facts.finished;
  }

  /** Whether a pod was here and is gone for good. */
  hasLeft(uid: string): boolean {
    return this.#left.has(uid);
  }

  /**
   * Takes in a pod, or what is new about one; not one that has left: a list from the cache of an
   * API server that is behind has it still.
   */
  put(facts: PodFacts): void {
    if (this.#left.has(facts.uid)) return;
    const known = this.#pods.get(facts.uid);
    if (known !== undefined && same(known.facts, facts)) return;
    if (known === undefined && this.#pods.size >= (this.#options.most ?? MOST_PODS)) return;
    const pod = known ?? { facts, basis: { current: true } };
    const before = pod.facts;
    this.#pods.set(facts.uid, pod);
    if (known !== undefined) this.#release(pod);
    pod.facts = facts;
    this.#claim(pod);
    this.#changed(pod);
    if (facts.finished && known !== undefined && !before.finished) this.#options.onLeft(facts);
  }

  /**
   * Takes in what was asked for and may be older than what the watch has told meanwhile.
   *
   * @returns Whether it is news; a pod that has left stays away.
   */
  putIfNew(facts: PodFacts): boolean {
    if (this.#pods.has(facts.uid) || this.#left.has(facts.uid)) return false;
    this.put(facts);
    return true;
  }

  /** Lets go of a pod that is gone for good: no pod ever has its uid again. */
  remove(uid: string): void {
    this.#remember(uid);
    this.#drop(uid);
  }

  #drop(uid: string): void {
    const pod = this.#pods.get(uid);
    // Somebody may go by its not being known, where it is not.
    this.#changed(pod);
    if (pod === undefined) return;
    this.#pods.delete(uid);
    this.#release(pod);
    if (!pod.facts.finished) this.#options.onLeft(pod.facts);
  }

  /** Makes the table what a new list says. */
  replace(listed: ReadonlyMap<string, PodFacts>): void {
    // A list may be older than what was known, so a pod that it lacks may be there after all.
    for (const uid of [...this.#pods.keys()]) if (!listed.has(uid)) this.#drop(uid);
    for (const facts of listed.values()) this.put(facts);
  }

  #changed(pod?: NodePod): void {
    if (pod !== undefined) renew(pod);
    this.#basis.current = false;
    this.#basis = { current: true };
  }

  #claim(pod: NodePod): void {
    const { facts } = pod;
    if (facts.hostNetwork || facts.finished) return;
    for (const address of facts.addresses) {
      const holder = this.#holders.get(address);
      if (holder !== undefined && !succeeds(pod, holder)) continue;
      this.#holders.set(address, pod);
      if (holder !== undefined) renew(holder);
    }
  }

  /** Gives up the pod's addresses; another that has published one as well holds it from now. */
  #release(pod: NodePod): void {
    for (const address of pod.facts.addresses) {
      if (this.#holders.get(address) !== pod) continue;
      this.#holders.delete(address);
      for (const other of this.#pods.values()) {
        if (other !== pod && other.facts.addresses.includes(address)) this.#claim(other);
      }
    }
  }

  #remember(uid: string): void {
    this.#left.add(uid);
    if (this.#left.size <= MOST_REMEMBERED) return;
    for (const oldest of this.#left) {
      this.#left.delete(oldest);
      return;
    }
  }
}

/** Whatever was judged by this pod has to be judged anew. */
function renew(pod: NodePod): void {
  pod.basis.current = false;
  pod.basis = { current: true };
}

/**
 * Whether an address that two pods have published is the first one's: a network plugin gives an
 * address to a new pod while the pod that had it is still being taken away.
 */
function succeeds({ facts }: NodePod, { facts: other }: NodePod): boolean {
  if (facts.deleting !== other.deleting) return other.deleting;
  if (facts.createdAt !== other.createdAt) return facts.createdAt > other.createdAt;
  return facts.uid > other.uid;
}

function same(a: PodFacts, b: PodFacts): boolean {
  return (
    a.finished === b.finished &&
    a.deleting === b.deleting &&
    a.node === b.node &&
    a.addresses.length === b.addresses.length &&
    a.addresses.every((address, index) => address === b.addresses[index])
  );
}
