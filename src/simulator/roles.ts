import { createHash } from 'node:crypto';
import { base32 } from './random.ts';
import { isRecord } from './service-account-token.ts';
import { allows, type TrustRequest } from './trust-policy.ts';

/** An IAM role. */
export interface Role {
  roleArn: string;
  /** `AROA…`, stable per role. */
  roleId: string;
  roleName: string;
  account: string;
  trustPolicy: Record<string, unknown>;
}

/** The parts of a role's ARN. */
export interface RoleArn {
  partition: string;
  account: string;
  name: string;
}

const ROLE_ARN = /^arn:(aws[a-z-]*):iam::(\d{12}):role\/(?:[\w+=,.@-]+\/)*([\w+=,.@-]{1,64})$/;

/** Takes a role's ARN apart; `undefined` where it is none. */
export function parseRoleArn(arn: string): RoleArn | undefined {
  const match = arn.length <= 2_048 ? ROLE_ARN.exec(arn) : null;
  return match === null
    ? undefined
    : { partition: match[1] as string, account: match[2] as string, name: match[3] as string };
}

/** The principal that EKS assumes roles as. */
const POD_IDENTITY_SERVICE = 'pods.eks.amazonaws.com';

/** The trust policy that EKS's user guide asks for. */
const POD_IDENTITY_TRUST = {
  Version: '2012-10-17',
  Statement: [
    {
      Effect: 'Allow',
      Principal: { Service: POD_IDENTITY_SERVICE },
      Action: ['sts:AssumeRole', 'sts:TagSession'],
    },
  ],
};

/**
 * The account's IAM roles. A role that nobody described exists and trusts EKS Pod Identity
 * (as a target role: whoever asks).
 */
export class Roles {
  readonly #described = new Map<string, Record<string, unknown>>();

  /**
   * Describes a role.
   *
   * @param roleArn - `arn:aws:iam::<account>:role/<name>`
   * @param trustPolicy - Its trust policy; the one of the user guide by default.
   * @throws TypeError that names the field.
   */
  put(roleArn: string, trustPolicy: Record<string, unknown> = POD_IDENTITY_TRUST): Role {
    if (parseRoleArn(roleArn) === undefined) {
      throw new TypeError(`roleArn is not a role's ARN: ${String(roleArn).slice(0, 200)}`);
    }
    if (!isRecord(trustPolicy) || trustPolicy.Statement === undefined) {
      throw new TypeError('trustPolicy must be a policy document with a Statement');
    }
    this.#described.set(roleArn, trustPolicy);
    return this.get(roleArn);
  }

  /** A role, described or not. */
  get(roleArn: string): Role {
    const { name, account } = parseRoleArn(roleArn) as RoleArn;
    return {
      roleArn,
      roleId: `AROA${base32(17, createHash('sha256').update(roleArn).digest())}`,
      roleName: name,
      account,
      trustPolicy: this.#described.get(roleArn) ?? POD_IDENTITY_TRUST,
    };
  }

  /** Whether EKS may assume the role: the actions, and conditions on tags and source. */
  trustsPodIdentity(roleArn: string, context: TrustRequest['context'], tagged = true): boolean {
    const principal = { Service: POD_IDENTITY_SERVICE };
    const { trustPolicy } = this.get(roleArn);
    const actions = tagged ? ['sts:AssumeRole', 'sts:TagSession'] : ['sts:AssumeRole'];
    return actions.every((action) => allows(trustPolicy, { action, principal, context }));
  }

  /** Whether a session of `roleArn` may assume `targetRoleArn`. */
  trustsRole(targetRoleArn: string, roleArn: string, context: TrustRequest['context']): boolean {
    const trustPolicy = this.#described.get(targetRoleArn);
    if (trustPolicy === undefined) return true;
    return allows(trustPolicy, { action: 'sts:AssumeRole', principal: { AWS: roleArn }, context });
  }
}
