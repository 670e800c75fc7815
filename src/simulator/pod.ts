import type { Clock, DurationMs, EpochMs, Timer } from '../clock.ts';
import type { BoundObject, TokenSubject } from './service-account-token.ts';
import { removeTokenFile, TOKEN_MOUNT_PATH, tokenFilePath, writeTokenFile } from './token-file.ts';

/** What a pod needs of the kubelet that runs it. */
export interface PodHost {
  readonly clock: Clock;
  readonly region: string;
  readonly tokenDirectory: string | undefined;
  serviceAccountUid(namespace: string, name: string): string;
  mint(subject: TokenSubject, lifetime: DurationMs): { token: string; expiresAt: EpochMs };
  removed(pod: Pod): void;
}

/** What a pod is from birth. */
export interface PodSpec {
  name: string;
  uid: string;
  namespace: string;
  serviceAccount: string;
  node: BoundObject | undefined;
  tokenLifetime: DurationMs;
}

/** A pod as another process sees it. */
export interface PodView {
  name: string;
  uid: string;
  namespace: string;
  serviceAccount: string;
  node: string | undefined;
  token: string;
  tokenExpiresAt: EpochMs;
  tokenFile: string | undefined;
}

/** The kubelet replaces a token at this part of its lifetime. */
const RENEW_AT = 0.8;
const MAX_TIMER: DurationMs = 2 ** 31 - 1;

/** A pod on the node, with its projected service account token. */
export class Pod {
  readonly name: string;
  readonly uid: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  /** The node's name, where its tokens name it. */
  readonly node: string | undefined;
  /** Where the kubelet keeps the token, if it was given a directory. */
  readonly tokenFile: string | undefined;
  readonly #host: PodHost;
  readonly #node: BoundObject | undefined;
  readonly #lifetime: DurationMs;
  #token = '';
  #tokenExpiresAt: EpochMs = 0;
  #renewal: Timer | undefined;

  constructor(host: PodHost, spec: PodSpec) {
    this.#host = host;
    this.name = spec.name;
    this.uid = spec.uid;
    this.namespace = spec.namespace;
    this.serviceAccount = spec.serviceAccount;
    this.node = spec.node?.name;
    this.#node = spec.node;
    this.#lifetime = spec.tokenLifetime;
    this.tokenFile =
      host.tokenDirectory && tokenFilePath(host.tokenDirectory, spec.namespace, spec.name);
    this.rotate();
  }

  /** The token now in place. */
  get token(): string {
    return this.#token;
  }

  /** When the token now in place expires, by the API server's clock. */
  get tokenExpiresAt(): EpochMs {
    return this.#tokenExpiresAt;
  }

  /** Whom this pod's tokens are for, with its service account's uid of today. */
  subject(): TokenSubject {
    const { namespace, serviceAccount } = this;
    return {
      namespace,
      serviceAccount: {
        name: serviceAccount,
        uid: this.#host.serviceAccountUid(namespace, serviceAccount),
      },
      pod: { name: this.name, uid: this.uid },
      node: this.#node,
    };
  }

  /** Replaces the token, and its file, as the kubelet does at 80 % of its lifetime. */
  rotate(): string {
    const { token, expiresAt } = this.#host.mint(this.subject(), this.#lifetime);
    this.#token = token;
    this.#tokenExpiresAt = expiresAt;
    if (this.tokenFile !== undefined) {
      writeTokenFile(this.tokenFile, token);
      this.#renewLater();
    }
    return token;
  }

  /**
   * The environment that EKS's webhook gives a pod.
   *
   * @param credentialsUri - The broker's address; default the link-local one of EKS.
   * @see https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html
   */
  environment(credentialsUri = 'http://169.254.170.23/v1/credentials'): Record<string, string> {
    return {
      AWS_STS_REGIONAL_ENDPOINTS: 'regional',
      AWS_DEFAULT_REGION: this.#host.region,
      AWS_REGION: this.#host.region,
      AWS_CONTAINER_CREDENTIALS_FULL_URI: credentialsUri,
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: this.tokenFile ?? TOKEN_MOUNT_PATH,
    };
  }

  /** Deletes the pod and its token file. Its tokens stay good until they expire. */
  delete(): void {
    this.stop();
    if (this.tokenFile !== undefined) removeTokenFile(this.tokenFile);
    this.#host.removed(this);
  }

  /** Stops renewing the token file. */
  stop(): void {
    this.#host.clock.clearTimeout(this.#renewal);
    this.#renewal = undefined;
  }

  /** What another process may know of it: everything, token included. */
  toJSON(): PodView {
    const { name, uid, namespace, serviceAccount, node, token, tokenExpiresAt, tokenFile } = this;
    return { name, uid, namespace, serviceAccount, node, token, tokenExpiresAt, tokenFile };
  }

  #renewLater(): void {
    this.stop();
    const delay = Math.min(this.#lifetime * RENEW_AT, MAX_TIMER);
    this.#renewal = this.#host.clock.setTimeout(() => this.rotate(), delay);
    this.#renewal.unref();
  }
}
