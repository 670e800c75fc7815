import type { NodePod, NodePods } from '../kubernetes/node-pods.ts';

/** Why a request is not its pod's own. */
export type PodRefusal =
  /** The pod is not on this node, or no longer. */
  | 'not-on-node'
  /** The pod has ended (`Succeeded` or `Failed`). */
  | 'not-live'
  /** The address is another pod's, or the node's, or not the node's for a host-network pod. */
  | 'wrong-address'
  /** No pod of the node has the address, and that is not to be (`--strict-address`). */
  | 'unknown-address';

/** Why a request is refused, as its sender and the log are told. */
export const REFUSAL_MESSAGES: Readonly<Record<PodRefusal, string>> = {
  'not-on-node': 'the pod of the token is not on this node, or no longer',
  'not-live': 'the pod of the token has ended',
  'wrong-address': "the request does not come from an address of the token's pod",
  'unknown-address': 'the request comes from an address that no pod of this node has',
};

/** What is made of a pod's token that comes from an address. */
export type PodVerdict =
  /** From an address that the pod has published: good until the pod changes. */
  | 'own-address'
  /** The pod has published no address yet; nobody else that stays has this one. */
  | 'unpublished'
  /** No pod of the node has the address: secondary interfaces, node-local egress ranges. */
  | 'unknown-source'
  | PodRefusal;

/** Where addresses belong to. */
export interface Surroundings {
  readonly pods: Pick<NodePods, 'holders'>;
  /** Whether an address, in canonical form, is the node's own. */
  readonly isOwn: (address: string) => boolean;
  /** An address that nobody has is refused. */
  readonly strict: boolean;
}

/**
 * Judges whether a token of `pod` may be presented from `address`.
 *
 * @param pod - The pod of the token, which is on this node.
 * @param address - The caller's, in canonical form; undefined where it is none.
 */
export function judgePod(
  pod: NodePod,
  address: string | undefined,
  { pods, isOwn, strict }: Surroundings,
): PodVerdict {
  const { facts } = pod;
  if (facts.finished) return 'not-live';
  const unknown = strict ? 'unknown-address' : 'unknown-source';
  if (address === undefined) return unknown;
  const holders = pods.holders(address);
  if (facts.hostNetwork) {
    return holders.length === 0 && isOwn(address) ? 'own-address' : 'wrong-address';
  }
  if (holders.includes(pod)) return 'own-address';
  if (isOwn(address)) return 'wrong-address';
  const unpublished = facts.addresses.length === 0;
  // What a pod had that is being taken away may be a new pod's before either is told.
  const passedOn = unpublished && holders.every((holder) => holder.facts.deleting);
  if (holders.length > 0 && !passedOn) return 'wrong-address';
  return unpublished ? 'unpublished' : unknown;
}

/** Whether a verdict is one by which a request is refused. */
export function isRefusal(verdict: PodVerdict): verdict is PodRefusal {
  return verdict in REFUSAL_MESSAGES;
}
