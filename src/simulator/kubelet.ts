import { randomUUID } from 'node:crypto';
import type { Clock, DurationMs, EpochMs } from '../clock.ts';
import { generateIssuerKey, type IssuerKey, type IssuerKeys, signJWS } from './issuer-keys.ts';
import { Pod, type PodHost } from './pod.ts';
import { randomId } from './random.ts';
import {
  namespaceName,
  nullable,
  number,
  object,
  objectName,
  optional,
  type Reader,
} from './read-json.ts';
import {
  type BoundObject,
  type Encoding,
  encodeToken,
  merge,
  type TokenSubject,
  tokenClaims,
} from './service-account-token.ts';

/** A pod to create. */
export interface PodOptions {
  namespace: string;
  serviceAccount: string;
  /** Default: as a Deployment names it, `<service account>-<hash>-<suffix>`. */
  name?: string | undefined;
  /** The node it runs on; `null` leaves the node out of its tokens. Default: the one node. */
  node?: string | null | undefined;
  /** Lifetime of its tokens in milliseconds; default {@link KubeletOptions.tokenLifetime}. */
  tokenLifetimeMs?: DurationMs | undefined;
}

/** Reads {@link PodOptions} from outside. */
export const podOptions: Reader<PodOptions> = object({
  namespace: namespaceName,
  serviceAccount: objectName,
  name: optional(objectName),
  node: optional(nullable(objectName)),
  tokenLifetimeMs: optional(number({ min: 1_000 })),
});

/** How {@link Kubelet.mint} departs from a good token of a pod. */
export interface MintOptions extends Encoding {
  /** Whose token; default: a pod of its own in `default`. */
  pod?: Pod | undefined;
  /** Over the claims; `null` removes one. */
  claims?: Record<string, unknown> | undefined;
  /** Over the claims within `kubernetes.io`; `null` removes one. */
  kubernetes?: Record<string, unknown> | undefined;
  /** Milliseconds; negative for one that expired already. */
  lifetimeMs?: DurationMs | undefined;
  /** Signs with a key that is not published, under the current key's `kid`. */
  foreignKey?: boolean | undefined;
}

/** What a kubelet works with. */
export interface KubeletOptions {
  clock: Clock;
  /** The API server's clock, which dates the tokens. */
  now: () => EpochMs;
  /** Tokens are signed with the current one. */
  keys: IssuerKeys;
  /** The `iss` of tokens. */
  issuer: string;
  region: string;
  /** Milliseconds. */
  tokenLifetime: DurationMs;
  /** Where token files go; undefined: nowhere. */
  tokenDirectory: string | undefined;
}

/** The node's name where none is given. */
export const DEFAULT_NODE = 'ip-10-0-0-10.ec2.internal';

/**
 * The kubelet and as much of the API server as token projection needs: pods, service
 * accounts with their uids, tokens and token files.
 */
export class Kubelet {
  readonly #options: KubeletOptions;
  readonly #pods = new Map<string, Pod>();
  readonly #serviceAccounts = new Map<string, string>();
  readonly #nodes = new Map<string, string>();
  #foreignKey: IssuerKey | undefined;

  constructor(options: KubeletOptions) {
    this.#options = options;
  }

  /**
   * Creates a pod, mints its first token and, with a token directory, writes its file.
   *
   * @throws TypeError that names the field; also where the pod exists.
   */
  createPod(options: PodOptions): Pod {
    const { namespace, serviceAccount, node, ...given } = podOptions(options, '');
    const name = given.name ?? this.#podName(serviceAccount);
    if (this.#pods.has(`${namespace}/${name}`)) {
      throw new TypeError(`name is taken by another pod: ${namespace}/${name}`);
    }
    const pod = new Pod(this.#host(), {
      name,
      uid: randomUUID(),
      namespace,
      serviceAccount,
      node: node === null ? undefined : this.#node(node ?? DEFAULT_NODE),
      tokenLifetime: given.tokenLifetimeMs ?? this.#options.tokenLifetime,
    });
    this.#pods.set(`${namespace}/${name}`, pod);
    return pod;
  }

  /** The pods that have not been deleted. */
  get pods(): Iterable<Pod> {
    return this.#pods.values();
  }

  /** @throws TypeError where there is no such pod. */
  pod(namespace: string, name: string): Pod {
    const pod = this.#pods.get(`${namespace}/${name}`);
    if (pod === undefined) throw new TypeError(`pod does not exist: ${namespace}/${name}`);
    return pod;
  }

  /** The uid of a service account, which is created when it is first asked for. */
  serviceAccountUid(namespace: string, name: string): string {
    return stableUid(this.#serviceAccounts, `${namespace}/${name}`);
  }

  /**
   * Deletes and creates a service account: tokens minted from now on carry its new uid.
   *
   * @returns The new uid.
   */
  recreateServiceAccount(namespace: string, name: string): string {
    const key = `${namespaceName(namespace, 'namespace')}/${objectName(name, 'name')}`;
    this.#serviceAccounts.delete(key);
    return stableUid(this.#serviceAccounts, key);
  }

  /** Gives every pod a new token. */
  rotateAll(): void {
    for (const pod of this.#pods.values()) pod.rotate();
  }

  /**
   * Mints a token that need not be good: claims and header changed or removed, other keys,
   * other lifetimes. It replaces no pod's token.
   */
  mint(options: MintOptions = {}): string {
    const { pod, claims, kubernetes, header } = options;
    const subject: TokenSubject = pod?.subject() ?? {
      namespace: 'default',
      serviceAccount: { name: 'default', uid: this.serviceAccountUid('default', 'default') },
      pod: { name: this.#podName('default'), uid: randomUUID() },
      node: this.#node(DEFAULT_NODE),
    };
    const { issuer, keys, now, tokenLifetime } = this.#options;
    const good = tokenClaims(subject, issuer, now(), options.lifetimeMs ?? tokenLifetime);
    const bound = { ...good, 'kubernetes.io': merge(good['kubernetes.io'], kubernetes) };
    const foreign = options.foreignKey === true ? this.#foreign() : undefined;
    const sign = options.sign ?? (foreign && ((input: string) => signJWS(input, foreign)));
    return encodeToken(merge(bound, claims), keys.current, { header, sign });
  }

  /** Stops renewing tokens. Files stay. */
  close(): void {
    for (const pod of this.#pods.values()) pod.stop();
  }

  #foreign(): IssuerKey {
    const { algorithm } = this.#options.keys.current;
    if (this.#foreignKey?.algorithm !== algorithm) this.#foreignKey = generateIssuerKey(algorithm);
    return this.#foreignKey;
  }

  #host(): PodHost {
    const { clock, issuer, keys, now, region, tokenDirectory } = this.#options;
    return {
      clock,
      region,
      tokenDirectory,
      serviceAccountUid: (namespace, name) => this.serviceAccountUid(namespace, name),
      mint: (subject, lifetime) => {
        const claims = tokenClaims(subject, issuer, now(), lifetime);
        return { token: encodeToken(claims, keys.current), expiresAt: claims.exp * 1_000 };
      },
      removed: (pod) => this.#pods.delete(`${pod.namespace}/${pod.name}`),
    };
  }

  #node(name: string): BoundObject {
    return { name, uid: stableUid(this.#nodes, name) };
  }

  #podName(serviceAccount: string): string {
    return `${serviceAccount.slice(0, 200)}-${randomId(9)}-${randomId(5)}`;
  }
}

function stableUid(uids: Map<string, string>, key: string): string {
  let uid = uids.get(key);
  if (uid === undefined) {
    uid = randomUUID();
    uids.set(key, uid);
  }
  return uid;
}
