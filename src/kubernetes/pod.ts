import { canonicalAddress } from '../network/canonical-address.ts';

/** The few things about a pod that are kept; all else is dropped as soon as it is parsed. */
export interface PodFacts {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly serviceAccount: string;
  /** Empty: it is not scheduled yet. */
  readonly node: string;
  /** It shares the node's addresses and has none of its own. */
  readonly hostNetwork: boolean;
  /** Its containers have ended for good (phase `Succeeded` or `Failed`). */
  readonly finished: boolean;
  /** Its end has been asked for; until it is gone its containers may run. */
  readonly deleting: boolean;
  /** `status.podIPs` in canonical form; empty until the kubelet has published them. */
  readonly addresses: readonly string[];
}

/** Kubernetes gives a pod one address of each family. */
const MAX_ADDRESSES = 16;
/** Names and uids of Kubernetes are shorter. */
const MAX_TEXT_LENGTH = 253;

/** The lists and objects below `metadata`, `spec` and `status` that {@link readPod} looks at. */
export const LISTS_READ: readonly string[] = ['podIPs'];

/**
 * Reads what is needed of a pod as the API server writes it.
 *
 * @param value - The object, as parsed; nothing about it is trusted.
 * @returns Undefined for what is no pod.
 * @see https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
 */
export function readPod(value: unknown): PodFacts | undefined {
  const pod = record(value);
  // Items of a list carry no kind.
  if (pod === undefined || (pod.kind !== undefined && pod.kind !== 'Pod')) return undefined;
  const metadata = record(pod.metadata);
  const spec = record(pod.spec);
  const status = record(pod.status) ?? {};
  if (metadata === undefined || spec === undefined) return undefined;
  const [uid, namespace, name] = [metadata.uid, metadata.namespace, metadata.name].map(text);
  if (uid === undefined || namespace === undefined || name === undefined) return undefined;
  return {
    uid,
    namespace,
    name,
    serviceAccount: text(spec.serviceAccountName) ?? 'default',
    node: text(spec.nodeName) ?? '',
    hostNetwork: spec.hostNetwork === true,
    finished: status.phase === 'Succeeded' || status.phase === 'Failed',
    deleting: typeof metadata.deletionTimestamp === 'string',
    addresses: addresses(status),
  };
}

function addresses({ podIPs, podIP }: Readonly<Record<string, unknown>>): string[] {
  const listed = Array.isArray(podIPs) ? podIPs.map((one) => record(one)?.ip) : [];
  const found = new Set<string>();
  for (const address of [...listed.slice(0, MAX_ADDRESSES), podIP]) {
    const canonical = canonicalAddress(text(address) ?? '');
    if (canonical !== undefined) found.add(canonical);
  }
  return [...found];
}

function text(value: unknown): string | undefined {
  // A copy: a slice would keep the whole document that it was cut from in memory.
  return typeof value === 'string' && value !== '' && value.length <= MAX_TEXT_LENGTH
    ? Buffer.from(value).toString()
    : undefined;
}

type Members = Readonly<Record<string, unknown>>;

function record(value: unknown): Members | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Members)
    : undefined;
}
