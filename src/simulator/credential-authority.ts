import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';
import type { EpochMs } from '../clock.ts';
import { base32 } from './random.ts';
import { noteSecret } from './test-output.ts';

/** Credentials as an AWS SDK takes them. */
export interface Credentials {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string | undefined;
  /** When they end; static ones never do. */
  expiration?: EpochMs | undefined;
}

/** Who signs with some credentials. */
export interface Principal {
  /** Node credentials may call EKS and EKS Auth; a role session may not. */
  kind: 'node' | 'role-session';
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken: string | undefined;
  arn: string;
  /** `<role id>:<session name>` */
  userId: string;
  account: string;
  expiresAt: EpochMs | undefined;
}

/** What a role session is issued for. */
export interface RoleSessionGrant {
  arn: string;
  userId: string;
  account: string;
  expiresAt: EpochMs;
  tags: Readonly<Record<string, string>>;
}

/** How real session tokens begin, and about how long they are. */
const SESSION_TOKEN_PREFIX = 'IQoJb3JpZ2luX2Vj';
const SESSION_TOKEN_PAYLOAD = 640;

/**
 * Issues credentials and knows them again. A role session is not stored: its secret is
 * derived from its access key id and everything else is sealed in its session token, so that
 * a run of days that issues millions of sessions needs no memory for them.
 */
export class CredentialAuthority {
  readonly #account: string;
  readonly #key = randomBytes(32);
  readonly #static = new Map<string, Principal>();

  constructor(account: string) {
    this.#account = account;
  }

  /** Makes `credentials` (new ones by default) good for the node's role. */
  addNode(
    arn: string,
    userId: string,
    given: Partial<Credentials> & { withSessionToken?: boolean | undefined } = {},
  ): Credentials {
    const temporary = given.withSessionToken === true || given.sessionToken !== undefined;
    const accessKeyId = given.accessKeyId ?? `${temporary ? 'ASIA' : 'AKIA'}${base32(16)}`;
    const secretAccessKey = given.secretAccessKey ?? randomBytes(30).toString('base64');
    const sessionToken = temporary
      ? (given.sessionToken ?? SESSION_TOKEN_PREFIX + randomBytes(300).toString('base64'))
      : undefined;
    this.#static.set(accessKeyId, {
      kind: 'node',
      accessKeyId,
      secretAccessKey,
      sessionToken,
      arn,
      userId,
      account: this.#account,
      expiresAt: given.expiration,
    });
    noteSecret(secretAccessKey);
    if (sessionToken !== undefined) noteSecret(sessionToken);
    return { accessKeyId, secretAccessKey, sessionToken, expiration: given.expiration };
  }

  /** Ends node credentials at `at`: from then on they are called expired. */
  expire(accessKeyId: string, at: EpochMs): void {
    const principal = this.#static.get(accessKeyId);
    if (principal === undefined) throw new TypeError(`accessKeyId is not known: ${accessKeyId}`);
    principal.expiresAt = at;
  }

  /** Forgets node credentials: from then on the access key id is unknown. */
  revoke(accessKeyId: string): void {
    if (!this.#static.delete(accessKeyId)) {
      throw new TypeError(`accessKeyId is not known: ${accessKeyId}`);
    }
  }

  /** Issues the credentials of a role session. */
  issue(grant: RoleSessionGrant): Required<Credentials> & { sessionToken: string } {
    const accessKeyId = `ASIA${base32(16)}`;
    const sealed = JSON.stringify({ ...grant, accessKeyId });
    const initialization = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', this.#key, initialization);
    const body = Buffer.concat([
      cipher.update(sealed.padEnd(SESSION_TOKEN_PAYLOAD), 'utf8'),
      cipher.final(),
    ]);
    const secretAccessKey = this.#sessionSecret(accessKeyId);
    const sessionToken =
      SESSION_TOKEN_PREFIX +
      Buffer.concat([initialization, cipher.getAuthTag(), body]).toString('base64');
    noteSecret(secretAccessKey);
    noteSecret(sessionToken);
    return { accessKeyId, secretAccessKey, sessionToken, expiration: grant.expiresAt };
  }

  /** Who an access key id and a session token belong to; `undefined` when to nobody. */
  find(accessKeyId: string, sessionToken: string | undefined): Principal | undefined {
    const fixed = this.#static.get(accessKeyId);
    if (fixed !== undefined) return fixed.sessionToken === sessionToken ? fixed : undefined;
    if (sessionToken === undefined) return undefined;
    const grant = this.#unseal(sessionToken);
    if (grant === undefined || grant.accessKeyId !== accessKeyId) return undefined;
    return {
      kind: 'role-session',
      accessKeyId,
      secretAccessKey: this.#sessionSecret(accessKeyId),
      sessionToken,
      arn: grant.arn,
      userId: grant.userId,
      account: grant.account,
      expiresAt: grant.expiresAt,
    };
  }

  #sessionSecret(accessKeyId: string): string {
    const digest = createHmac('sha256', this.#key).update(`secret:${accessKeyId}`).digest();
    return digest.subarray(0, 30).toString('base64');
  }

  #unseal(sessionToken: string): (RoleSessionGrant & { accessKeyId: string }) | undefined {
    if (!sessionToken.startsWith(SESSION_TOKEN_PREFIX) || sessionToken.length > 8_192) {
      return undefined;
    }
    const bytes = Buffer.from(sessionToken.slice(SESSION_TOKEN_PREFIX.length), 'base64');
    if (bytes.length < 29) return undefined;
    const decipher = createDecipheriv('aes-256-gcm', this.#key, bytes.subarray(0, 12));
    decipher.setAuthTag(bytes.subarray(12, 28));
    try {
      const plain = decipher.update(bytes.subarray(28), undefined, 'utf8') + decipher.final('utf8');
      return JSON.parse(plain) as RoleSessionGrant & { accessKeyId: string };
    } catch {
      return undefined;
    }
  }
}
