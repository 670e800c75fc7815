import type { Clock, DurationMs, EpochMs, MonotonicMs } from '../clock.ts';
import type { NodePod, NodePods, Validity } from '../kubernetes/node-pods.ts';
import type { PodFacts } from '../kubernetes/pod.ts';
import type { LookupResult, PodLookup, SoughtPod } from '../kubernetes/pod-lookup.ts';
import { canonicalAddress } from '../network/canonical-address.ts';
import type { RepeatedFaults } from '../telemetry/repeated-faults.ts';
import type { PodIdentity } from '../tokens/claims.ts';
import {
  isRefusal,
  judgePod,
  type PodRefusal,
  type PodVerdict,
  REFUSAL_MESSAGES,
} from './pod-verdict.ts';

/** How long a request waits for the first list of pods; the look-up has to fit in behind it. */
const FIRST_LIST_WAIT: DurationMs = 500;
/** How long a token is good that nobody could be asked about. */
const UNCHECKED_TTL: DurationMs = 2_000;

/** How soon a pod that is known may be asked about again, for one token. */
const LOOKUP_INTERVAL: DurationMs = 1_000;

/** What requests are found to be, as it is counted. */
export type PodFinding = PodRefusal | 'unchecked';

/** A token that was found to be its pod's own, from one address. */
export interface Admission {
  /** As the socket has it. */
  readonly address: string | undefined;
  readonly validity: Validity;
  readonly until: EpochMs;
}

/** Whoever presents a token; what is found out is kept with it. */
export interface Bearer {
  readonly pod: PodIdentity;
  admission?: Admission | undefined;
  /** When the API server was last asked about its pod though that was known. */
  askedAt?: MonotonicMs | undefined;
}

/** What {@link PodGate} is made from. */
export interface PodGateOptions {
  readonly clock: Clock;
  readonly faults: RepeatedFaults;
  readonly pods: NodePods;
  readonly lookup: Pick<PodLookup, 'find'>;
  /** Whether the watch tells of changes now, so that the table is not behind. */
  readonly connected: () => boolean;
  /** Resolves when the first list of pods is in, or has failed. */
  readonly firstList: Promise<void>;
  readonly nodeName: string;
  /** Whether an address, in canonical form, is the node's own. */
  readonly isOwn: (address: string) => boolean;
  /** `audit`: nothing is refused, only counted and logged. */
  readonly mode: 'audit' | 'enforce';
  /** Addresses that no pod of the node has are refused. */
  readonly strict: boolean;
  readonly onFinding: (finding: PodFinding) => void;
}

/**
 * Lets a token pass that a live pod of this node presents from its own address. Where that
 * cannot be told, because the API server is away, the token's signature alone decides.
 */
export class PodGate {
  readonly #options: PodGateOptions;

  constructor(options: PodGateOptions) {
    this.#options = options;
  }

  /**
   * Whether a token may be served from memory; on the way of every hit.
   *
   * @param address - As the socket has it.
   * @returns False where {@link judge} has to be asked.
   */
  admits(bearer: Bearer, address: string | undefined, now: EpochMs): boolean {
    return stands(bearer, address, now) || this.#admitsAnew(bearer, address);
  }

  /**
   * Judges a token that is presented from an address, with the API server's help where the
   * watch has not told of its pod.
   *
   * @returns Why it is refused; undefined where it is not, and always in audit.
   */
  async judge(bearer: Bearer, address: string | undefined): Promise<PodRefusal | undefined> {
    const { pods, clock } = this.#options;
    if (stands(bearer, address, clock.now())) return undefined;
    const known = pods.find(bearer.pod.podUid);
    if (known !== undefined && !this.#isInDoubt(bearer, address, known)) {
      return this.#judge(bearer, address, known);
    }
    const judged =
      known === undefined
        ? this.#judgeUnknown(bearer, address)
        : this.#judgeInDoubt(bearer, address, known);
    if (this.#options.mode === 'enforce') return await judged;
    // In audit nobody waits for what would not change the answer.
    judged.catch(() => undefined);
    return undefined;
  }

  /** Says what is known of a token's pod, whoever presents it; asks and counts nothing. */
  describe({ podUid }: PodIdentity): { readonly ok: boolean; readonly detail: string } {
    const { pods, mode } = this.#options;
    const known = pods.find(podUid)?.facts;
    const refusal =
      known?.finished === true
        ? REFUSAL_MESSAGES['not-live']
        : known === undefined && pods.hasLeft(podUid)
          ? REFUSAL_MESSAGES['not-on-node']
          : undefined;
    if (refusal !== undefined) {
      const detail = mode === 'enforce' ? refusal : `${refusal} (audit: it is served)`;
      return { ok: mode === 'audit', detail };
    }
    if (known === undefined) return { ok: true, detail: 'not known: the API server is asked' };
    const where = known.hostNetwork ? "the node's own" : known.addresses.join(', ');
    return { ok: true, detail: `on this node; its addresses: ${where || 'not published yet'}` };
  }

  #admitsAnew(bearer: Bearer, address: string | undefined): boolean {
    const { pods, mode } = this.#options;
    const known = pods.find(bearer.pod.podUid);
    const inDoubt = known === undefined || this.#isInDoubt(bearer, address, known);
    if (mode === 'audit') {
      if (inDoubt) void this.judge(bearer, address);
      else this.#judge(bearer, address, known);
      return true;
    }
    if (inDoubt) return false;
    const verdict = this.#verdict(known, address);
    if (isRefusal(verdict)) return false;
    this.#admit(bearer, address, known, verdict);
    return true;
  }

  async #judgeUnknown(
    bearer: Bearer,
    address: string | undefined,
  ): Promise<PodRefusal | undefined> {
    const { pods, lookup } = this.#options;
    const { podUid } = bearer.pod;
    await this.#firstList();
    const listed = pods.find(podUid);
    if (listed !== undefined) return this.#judge(bearer, address, listed);
    const found = pods.hasLeft(podUid) ? ABSENT : await lookup.find(bearer.pod);
    // The watch may have told of it meanwhile, and is the later of the two.
    const told = pods.find(podUid);
    if (told !== undefined) return this.#judge(bearer, address, told);
    if (found.kind === 'away') {
      this.#admitUnchecked(bearer, address);
      return undefined;
    }
    const { nodeName } = this.#options;
    if (found.kind === 'absent' || found.facts.node !== nodeName || pods.hasLeft(podUid)) {
      return this.#refuse('not-on-node', bearer, address);
    }
    pods.putIfNew(found.facts);
    const pod = pods.find(podUid) ?? { facts: found.facts, validity: { current: false } };
    return this.#judge(bearer, address, pod);
  }

  /**
   * Whether the table may be behind in what a request turns on: the addresses of a pod that has
   * published none by what is known, or one that another pod has published after it, and while the
   * watch is cut, those of any pod.
   */
  #isInDoubt(bearer: Bearer, address: string | undefined, pod: NodePod): boolean {
    const { clock, connected } = this.#options;
    const { facts } = pod;
    if (facts.finished) return false;
    const verdict = this.#verdict(pod, address);
    if (verdict === 'own-address') return false;
    const published = facts.hostNetwork || facts.addresses.length > 0;
    const doubtful = isRefusal(verdict)
      ? !published || !connected() || this.#isContested(address, facts)
      : !published && !connected();
    if (!doubtful) return false;
    return clock.elapsed() - (bearer.askedAt ?? Number.NEGATIVE_INFINITY) >= LOOKUP_INTERVAL;
  }

  /** Judges by a pod that is known after the API server was asked about it again. */
  async #judgeInDoubt(
    bearer: Bearer,
    address: string | undefined,
    known: NodePod,
  ): Promise<PodRefusal | undefined> {
    const { pods, clock, connected } = this.#options;
    const { podUid } = bearer.pod;
    bearer.askedAt = clock.elapsed();
    const found = await this.#lookUp(bearer.pod, known);
    await this.#lookUpHolders(bearer, address);
    const told = pods.find(podUid);
    if (told === undefined) return this.#refuse('not-on-node', bearer, address);
    const unpublished = !told.facts.hostNetwork && told.facts.addresses.length === 0;
    if (found.kind === 'away' && unpublished && !told.facts.finished && !connected()) {
      this.#admitUnchecked(bearer, address);
      return undefined;
    }
    return this.#judge(bearer, address, told);
  }

  /** Asks the API server about a pod of the table, and has the table say what it says. */
  async #lookUp(sought: SoughtPod, { validity }: NodePod): Promise<LookupResult> {
    const { pods, lookup, nodeName } = this.#options;
    const found = await lookup.find(sought);
    // What the watch has told meanwhile may be the later of the two.
    if (!validity.current || found.kind === 'away') return found;
    if (found.kind === 'pod' && found.facts.node === nodeName) pods.put(found.facts);
    else pods.remove(sought.podUid);
    return found;
  }

  /**
   * Asks about the pods that have a request's address, if it would be refused for their sake alone:
   * what they have published may be out of date.
   */
  async #lookUpHolders(bearer: Bearer, address: string | undefined): Promise<void> {
    const { pods } = this.#options;
    const canonical = canonicalAddress(address ?? '');
    const pod = pods.find(bearer.pod.podUid);
    if (canonical === undefined || pod === undefined || pod.facts.hostNetwork) return;
    if (this.#verdict(pod, address) !== 'wrong-address') return;
    if (pod.facts.addresses.length > 0 && !this.#isContested(address, pod.facts)) return;
    await Promise.all(
      pods.holders(canonical).map((holder) => {
        const { namespace, name, uid } = holder.facts;
        return this.#lookUp({ namespace, pod: name, podUid: uid }, holder);
      }),
    );
  }

  /** Whether a pod has published an address that is another's by what is known. */
  #isContested(address: string | undefined, { addresses, hostNetwork }: PodFacts): boolean {
    return !hostNetwork && addresses.includes(canonicalAddress(address ?? '') ?? '');
  }

  /** Nobody can be asked: the token's signature alone decides, for a moment. */
  #admitUnchecked(bearer: Bearer, address: string | undefined): void {
    const { pods, clock, onFinding } = this.#options;
    onFinding('unchecked');
    const until = clock.now() + UNCHECKED_TTL;
    bearer.admission = { address, validity: pods.validity, until };
  }

  #judge(bearer: Bearer, address: string | undefined, pod: NodePod): PodRefusal | undefined {
    const verdict = this.#verdict(pod, address);
    if (isRefusal(verdict)) return this.#refuse(verdict, bearer, address);
    this.#admit(bearer, address, pod, verdict);
    return undefined;
  }

  #verdict(pod: NodePod, address: string | undefined): PodVerdict {
    const { pods, isOwn, strict } = this.#options;
    const canonical = address === undefined ? undefined : canonicalAddress(address);
    return judgePod(pod, canonical, { pods, isOwn, strict });
  }

  #admit(
    bearer: Bearer,
    address: string | undefined,
    pod: NodePod,
    verdict: Exclude<PodVerdict, PodRefusal>,
  ): void {
    if (verdict === 'unknown-source') this.#tell('unknown-address', bearer, address);
    // What a pod's own address proves holds until the pod changes; all else, until any does.
    const { pods, connected, clock } = this.#options;
    const own = verdict === 'own-address' && !pod.facts.hostNetwork;
    const validity = own ? pod.validity : pods.validity;
    // With the watch cut nobody tells when it has published an address.
    const untold = verdict === 'unpublished' && !connected();
    const until = untold ? clock.now() + UNCHECKED_TTL : Number.POSITIVE_INFINITY;
    bearer.admission = { address, validity, until };
  }

  #refuse(
    refusal: PodRefusal,
    bearer: Bearer,
    address: string | undefined,
  ): PodRefusal | undefined {
    bearer.admission = undefined;
    this.#tell(refusal, bearer, address);
    return this.#options.mode === 'enforce' ? refusal : undefined;
  }

  #tell(finding: PodRefusal, { pod }: Bearer, address: string | undefined): void {
    const { faults, mode, strict, onFinding } = this.#options;
    onFinding(finding);
    const { namespace, serviceAccount, podUid } = pod;
    const refused = finding !== 'unknown-address' || strict;
    const what = !refused
      ? 'no pod of the node has the address of a request'
      : `request ${mode === 'enforce' ? 'refused' : 'would be refused'}: ${REFUSAL_MESSAGES[finding]}`;
    faults.report(`${finding} ${namespace}/${serviceAccount}`, {
      level: refused ? 'warn' : 'info',
      fields: { finding, pod: pod.pod, podUid, namespace, serviceAccount, address },
      message: what,
    });
  }

  /** Waits for the first list of pods, for a moment. */
  async #firstList(): Promise<void> {
    const { clock, firstList } = this.#options;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = clock.setTimeout(resolve, FIRST_LIST_WAIT);
    timer.unref();
    await Promise.race([firstList, promise]);
    clock.clearTimeout(timer);
  }
}

/** Whether what was found out before holds for a request now. */
function stands({ admission }: Bearer, address: string | undefined, now: EpochMs): boolean {
  return (
    admission !== undefined &&
    admission.address === address &&
    admission.validity.current &&
    now < admission.until
  );
}

const ABSENT: LookupResult = { kind: 'absent' };
