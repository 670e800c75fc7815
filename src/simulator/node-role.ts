import type { DurationMs, EpochMs } from '../clock.ts';
import type { CredentialAuthority, Credentials } from './credential-authority.ts';
import { base32 } from './random.ts';

/** What the node's role needs to know. */
export interface NodeRoleOptions {
  /** Makes credentials, and knows them again. */
  authority: CredentialAuthority;
  account: string;
  partition: string;
  serviceNow: () => EpochMs;
  /** The first; undefined: new ones. */
  credentials: Credentials | undefined;
}

/** The role that the node, and so the broker, calls AWS as. */
export class NodeRole {
  readonly arn: string;
  readonly #options: NodeRoleOptions;
  readonly #userId: string;
  #credentials: Credentials;

  constructor(options: NodeRoleOptions) {
    const { account, authority, credentials, partition } = options;
    const instance = 'i-0123456789abcdef0';
    this.#options = options;
    this.arn = `arn:${partition}:sts::${account}:assumed-role/simulated-node/${instance}`;
    this.#userId = `AROA${base32(17)}:${instance}`;
    this.#credentials = authority.addNode(this.arn, this.#userId, credentials);
  }

  /** The latest credentials. */
  get credentials(): Credentials {
    return this.#credentials;
  }

  /**
   * Issues new credentials; the old ones stay good until they expire or are revoked.
   *
   * @param options.withSessionToken - Temporary ones, as an instance profile's. Default true.
   * @param options.lifetime - Milliseconds until they expire; default never.
   */
  rotate(
    options: { withSessionToken?: boolean | undefined; lifetime?: DurationMs | undefined } = {},
  ): Credentials {
    const { authority, serviceNow } = this.#options;
    this.#credentials = authority.addNode(this.arn, this.#userId, {
      withSessionToken: options.withSessionToken ?? true,
      expiration: options.lifetime === undefined ? undefined : serviceNow() + options.lifetime,
    });
    return this.#credentials;
  }

  /** Calls signed with these get `ExpiredTokenException` from now on. */
  expire(accessKeyId = this.#credentials.accessKeyId): void {
    this.#options.authority.expire(accessKeyId, this.#options.serviceNow());
  }

  /** Calls signed with these get `UnrecognizedClientException` from now on. */
  revoke(accessKeyId = this.#credentials.accessKeyId): void {
    this.#options.authority.revoke(accessKeyId);
  }
}
