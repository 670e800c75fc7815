import type { PodFacts } from './pod.ts';

/**
 * What a judgement of a request was based on. Whoever keeps a judgement keeps this with it: it
 * holds for as long as this says that it is current.
 */
export interface Validity {
  current: boolean;
}

/** A pod of this node. */
export interface NodePod {
  facts: PodFacts;
  /** Current until something about the pod or its addresses changes. */
  validity: Validity;
}

/** A pod that has published an address. */
interface Claim {
  readonly pod: NodePod;
  /** Greater than that of what was published before; the same for all that one list told of. */
  readonly order: number;
}

/** Pods held at most; a node has hundreds. What comes beyond is asked for when it is needed. */
const MAX_PODS = 10_000;
/** Pods that have left and are remembered, so that a late answer does not bring them back. */
const MAX_REMEMBERED = 1_000;

/** What {@link NodePods} is made from. */
export interface NodePodsOptions {
  /** Called when a pod has left, or has ended for good. */
  readonly onLeft: (pod: PodFacts) => void;
  /** The number of pods that are held. Default is 10,000. */
  readonly maxPods?: number | undefined;
}

/** The pods of this node, by uid and by address. */
export class NodePods {
  readonly #options: NodePodsOptions;
  readonly #pods = new Map<string, NodePod>();
  /** Who has published an address; pods on the host network and finished ones have none. */
  readonly #claims = new Map<string, readonly Claim[]>();
  #order = 0;
  readonly #left = new Set<string>();
  #validity: Validity = { current: true };

  constructor(options: NodePodsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#pods.size;
  }

  /** Current until anything about any pod changes. */
  get validity(): Validity {
    return this.#validity;
  }

  find(uid: string): NodePod | undefined {
    return this.#pods.get(uid);
  }

  /**
   * The pods that an address belongs to, as far as is known.
   *
   * Several can have published it: the status of a pod whose sandbox has ended keeps its address
   * until the kubelet writes the next one, and the network plugin may have given it to another pod
   * by then. It belongs to the pod that published it last. A list does not tell who that was: then
   * it belongs to each of them, but not to one that is being taken away beside one that stays.
   *
   * @param address - In canonical form.
   * @returns More than one only if that cannot be told.
   */
  holders(address: string): readonly NodePod[] {
    const claims = this.#claims.get(address);
    if (claims === undefined) return NOBODY;
    if (claims.length === 1) return claims.map(({ pod }) => pod);
    const last = Math.max(...claims.map(({ order }) => order));
    const latest = claims.filter(({ order }) => order === last).map(({ pod }) => pod);
    const staying = latest.filter(({ facts }) => !facts.deleting);
    return staying.length > 0 ? staying : latest;
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
    this.#order += 1;
    this.#put(facts);
  }

  #put(facts: PodFacts): void {
    if (this.#left.has(facts.uid)) return;
    const known = this.#pods.get(facts.uid);
    if (known !== undefined && same(known.facts, facts)) return;
    if (known === undefined && this.#pods.size >= (this.#options.maxPods ?? MAX_PODS)) return;
    const pod = known ?? { facts, validity: { current: true } };
    const before = pod.facts;
    this.#pods.set(facts.uid, pod);
    const addresses = new Set(known === undefined ? [] : claimed(before));
    for (const address of claimed(facts)) addresses.add(address);
    const holders = [...addresses].flatMap((address) => this.holders(address));
    pod.facts = facts;
    for (const address of addresses) this.#claim(address, pod);
    // Whose address it was may have to be judged anew.
    for (const holder of holders) renew(holder);
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
    for (const address of pod.facts.addresses) this.#release(address, pod);
    if (!pod.facts.finished) this.#options.onLeft(pod.facts);
  }

  /** Makes the table what a new list says. */
  replace(listed: ReadonlyMap<string, PodFacts>): void {
    // A list may be older than what was known, so a pod that it lacks may be there after all.
    for (const uid of [...this.#pods.keys()]) if (!listed.has(uid)) this.#drop(uid);
    this.#order += 1;
    for (const facts of listed.values()) this.#put(facts);
  }

  #changed(pod?: NodePod): void {
    if (pod !== undefined) renew(pod);
    this.#validity.current = false;
    this.#validity = { current: true };
  }

  /** Has a pod's claim to an address be what its facts say; one that stays keeps its order. */
  #claim(address: string, pod: NodePod): void {
    if (!claimed(pod.facts).includes(address)) {
      this.#release(address, pod);
      return;
    }
    const claims = this.#claims.get(address) ?? [];
    if (claims.some((claim) => claim.pod === pod)) return;
    this.#claims.set(address, [...claims, { pod, order: this.#order }]);
  }

  #release(address: string, pod: NodePod): void {
    const others = this.#claims.get(address)?.filter((claim) => claim.pod !== pod) ?? [];
    if (others.length === 0) this.#claims.delete(address);
    else this.#claims.set(address, others);
  }

  #remember(uid: string): void {
    this.#left.add(uid);
    if (this.#left.size <= MAX_REMEMBERED) return;
    for (const oldest of this.#left) {
      this.#left.delete(oldest);
      return;
    }
  }
}

/** Whatever was judged by this pod has to be judged anew. */
function renew(pod: NodePod): void {
  pod.validity.current = false;
  pod.validity = { current: true };
}

const NOBODY: readonly NodePod[] = [];
const NO_ADDRESSES: readonly string[] = [];

/** The addresses that a pod has of its own. */
function claimed({ hostNetwork, finished, addresses }: PodFacts): readonly string[] {
  return hostNetwork || finished ? NO_ADDRESSES : addresses;
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
