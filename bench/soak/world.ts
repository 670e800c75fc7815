import type { DurationMs, EpochMs } from '../../src/clock.ts';
import type { RemotePod, RemoteSimulator } from '../../src/simulator/control-client.ts';
import type { Chance } from '../harness/chance.ts';
import type { Gate } from './gate.ts';

/** The namespace whose pods share the session of their service account. */
export const SHARED = 'shop';
/** The namespace whose pods have sessions of their own: the broker's `--pod-scope`. */
export const OWN = 'solo';

const NAMES: Readonly<Record<string, readonly string[]>> = {
  [SHARED]: ['cart', 'checkout', 'search', 'ledger', 'mailer', 'stock', 'prices', 'reviews'],
  [OWN]: ['batch', 'reports'],
};
/** Its association has a target role, so its sessions are shorter. */
const CHAINED = 'ledger';

/** Lifetimes of tokens: short enough that pods see several. */
const TOKEN_LIFETIME: readonly [DurationMs, DurationMs] = [90_000, 240_000];
/** The kubelet replaces a token at four fifths of its life; here some go sooner. */
const ROTATED_AT: readonly [number, number] = [0.4, 0.8];
/**
 * From when EKS Auth knows an association until every pod of it is served: a refusal is
 * remembered for 4 s, and another pod's token is tried a second later.
 */
const REFUSAL_FORGOTTEN: DurationMs = 7_000;

/** A service account, and what EKS Auth makes of it. */
export interface Account {
  readonly namespace: string;
  readonly name: string;
  associationId: string | undefined;
  roleArn: string;
  /** Its pods can count on credentials from then on. */
  usableFrom: EpochMs;
}

/** A token as a pod holds it, and what its claims say. */
export interface HeldToken {
  readonly text: string;
  readonly kid: string;
  readonly serviceAccountUid: string;
  readonly expiresAt: EpochMs;
}

/** A pod that asks for credentials. */
export interface SoakPod {
  readonly account: Account;
  readonly name: string;
  readonly uid: string;
  /** Where its requests come from. */
  readonly address: string;
  token: HeldToken;
  /** The one before. */
  former: HeldToken | undefined;
  rotateAt: EpochMs;
  /** It has been deleted; its tokens are good until they expire. */
  gone: boolean;
}

/** What {@link World} is made from. */
export interface WorldOptions {
  readonly simulator: RemoteSimulator;
  readonly gate: Gate;
  readonly chance: Chance;
  /** How long EKS Auth takes to see a change of an association. */
  readonly associationDelay: DurationMs;
  /** By how much the clock of EKS is ahead of this one. */
  readonly clockOffset: DurationMs;
  readonly onPod: (pod: SoakPod) => void;
}

/** The service accounts of the cluster and the pods of the node, as they are now. */
export class World {
  readonly #options: WorldOptions;
  readonly #remote = new Map<SoakPod, RemotePod>();
  readonly accounts: readonly Account[];
  #created = 0;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.accounts = Object.entries(NAMES).flatMap(([namespace, names]) =>
      names.map((name) => ({
        namespace,
        name,
        associationId: undefined,
        roleArn: this.roleArn(name),
        usableFrom: Number.POSITIVE_INFINITY,
      })),
    );
  }

  /** The pods that there are. */
  get pods(): SoakPod[] {
    return [...this.#remote.keys()];
  }

  /** A role's ARN by its name. */
  roleArn(name: string): string {
    return `arn:aws:iam::${this.#options.simulator.account}:role/${name}`;
  }

  /** Associates a service account with its role. */
  async associate(account: Account): Promise<void> {
    const { simulator, gate } = this.#options;
    const { namespace, name: serviceAccount, roleArn } = account;
    const { associationId } = await gate.pass(() =>
      simulator.associations.create({
        namespace,
        serviceAccount,
        roleArn,
        ...(serviceAccount === CHAINED && { targetRoleArn: this.roleArn('target') }),
      }),
    );
    account.associationId = associationId;
    this.usableAgain(account);
  }

  /** Takes a service account's association away. */
  async dissociate(account: Account): Promise<void> {
    const { associationId } = account;
    if (associationId === undefined) return;
    account.associationId = undefined;
    account.usableFrom = Number.POSITIVE_INFINITY;
    await this.#options.gate.pass(() => this.#options.simulator.associations.delete(associationId));
  }

  /** What stood in the way of a service account has been mended. */
  usableAgain(account: Account): void {
    account.usableFrom = Date.now() + this.#options.associationDelay + REFUSAL_FORGOTTEN;
  }

  /** Starts a pod of a service account. */
  async createPod(account: Account): Promise<void> {
    const { simulator, gate, chance, onPod } = this.#options;
    const remote = await gate.pass(() =>
      simulator.kubelet.createPod({
        namespace: account.namespace,
        serviceAccount: account.name,
        tokenLifetimeMs: Math.round(chance.between(...TOKEN_LIFETIME)),
      }),
    );
    this.#created += 1;
    const pod: SoakPod = {
      account,
      name: remote.name,
      uid: remote.uid,
      address: `127.20.${(this.#created >> 8) & 255}.${this.#created & 255}`,
      token: held(remote),
      former: undefined,
      rotateAt: 0,
      gone: false,
    };
    this.#scheduleRotation(pod);
    this.#remote.set(pod, remote);
    onPod(pod);
  }

  /** Ends a pod. */
  async deletePod(pod: SoakPod): Promise<void> {
    pod.gone = true;
    const remote = this.#remote.get(pod);
    this.#remote.delete(pod);
    await this.#options.gate.pass(async () => await remote?.delete());
  }

  /** Gives a pod a new token. */
  async rotate(pod: SoakPod): Promise<void> {
    const remote = this.#remote.get(pod);
    if (remote === undefined) return;
    await this.#options.gate.pass(() => remote.rotate());
    pod.former = pod.token;
    pod.token = held(remote);
    this.#scheduleRotation(pod);
  }

  /** Deletes a service account and creates it anew, with as many pods as it had. */
  async recreate(account: Account): Promise<void> {
    const { simulator, gate } = this.#options;
    const pods = this.pods.filter((pod) => pod.account === account);
    for (const pod of pods) await this.deletePod(pod);
    await gate.pass(() =>
      simulator.kubelet.recreateServiceAccount(account.namespace, account.name),
    );
    for (const _ of pods) await this.createPod(account);
  }

  #scheduleRotation(pod: SoakPod): void {
    const { chance, clockOffset } = this.#options;
    const life = pod.token.expiresAt - clockOffset - Date.now();
    pod.rotateAt = Date.now() + life * chance.between(...ROTATED_AT);
  }
}

function held({ token }: RemotePod): HeldToken {
  const [header = '', claims = ''] = token.split('.');
  const { kid } = decode(header) as { kid: string };
  const said = decode(claims) as {
    exp: number;
    'kubernetes.io': { serviceaccount: { uid: string } };
  };
  return {
    text: token,
    kid,
    serviceAccountUid: said['kubernetes.io'].serviceaccount.uid,
    expiresAt: said.exp * 1_000,
  };
}

function decode(part: string): unknown {
  return JSON.parse(Buffer.from(part, 'base64url').toString());
}
