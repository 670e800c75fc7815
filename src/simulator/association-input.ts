import { modelled } from './aws-error.ts';
import {
  flag,
  namespaceName,
  object,
  objectName,
  optional,
  type Reader,
  text,
  textRecord,
} from './read-json.ts';
import { parseRoleArn, type Roles } from './roles.ts';
import { isRecord } from './service-account-token.ts';

/** An association to create. */
export interface AssociationInput {
  namespace: string;
  serviceAccount: string;
  /** A role of the cluster's account. */
  roleArn: string;
  /** A role, of any account, that `roleArn` assumes in turn: sessions of one hour. */
  targetRoleArn?: string | undefined;
  /** Default false. */
  disableSessionTags?: boolean | undefined;
  /** A session policy in JSON; needs session tags disabled. */
  policy?: string | undefined;
  tags?: Record<string, string> | undefined;
  /** The same request made twice creates one association. */
  clientRequestToken?: string | undefined;
}

/** What of an association can change. */
export type AssociationChange = {
  [Field in keyof Omit<AssociationInput, 'namespace' | 'serviceAccount' | 'tags'>]?:
    | AssociationInput[Field]
    | undefined;
};

const arn = text({ max: 2_048 });
const changeable = {
  targetRoleArn: optional(arn),
  disableSessionTags: optional(flag),
  policy: optional(text({ max: 10_240 })),
  clientRequestToken: optional(text({ max: 256 })),
};

/** Reads an {@link AssociationInput} from outside. */
export const associationInput: Reader<AssociationInput> = object({
  namespace: namespaceName,
  serviceAccount: objectName,
  roleArn: arn,
  tags: optional(textRecord),
  ...changeable,
});

/** Reads an {@link AssociationChange} from outside. */
export const associationChange: Reader<AssociationChange> = object({
  roleArn: optional(arn),
  ...changeable,
});

const TAG_LIMIT = 50;

/** An association's own fields, checked as `CreatePodIdentityAssociation` checks them. */
export function checkAssociation(input: AssociationInput, account: string, roles: Roles) {
  const read = orInvalid(() => associationInput(input, ''));
  const { namespace, serviceAccount, roleArn, tags = {} } = read;
  checkTags(tags);
  const fields = {
    namespace,
    serviceAccount,
    roleArn,
    tags,
    disableSessionTags: read.disableSessionTags ?? false,
    ...(read.targetRoleArn !== undefined && { targetRoleArn: read.targetRoleArn }),
    ...(read.policy !== undefined && { policy: read.policy }),
  };
  checkRoles(fields, account, roles);
  return fields;
}

/** The fields that an update leaves, checked as `UpdatePodIdentityAssociation` does. */
export function checkChange(
  before: {
    roleArn: string;
    disableSessionTags: boolean;
    targetRoleArn?: string | undefined;
    policy?: string | undefined;
  },
  change: AssociationChange,
  account: string,
  roles: Roles,
) {
  const read = orInvalid(() => associationChange(change, ''));
  const fields = {
    roleArn: read.roleArn ?? before.roleArn,
    disableSessionTags: read.disableSessionTags ?? before.disableSessionTags,
    targetRoleArn: (read.targetRoleArn ?? before.targetRoleArn) || undefined,
    policy: (read.policy ?? before.policy) || undefined,
  };
  checkRoles(fields, account, roles);
  return fields;
}

function checkRoles(
  fields: {
    roleArn: string;
    disableSessionTags: boolean;
    targetRoleArn?: string | undefined;
    policy?: string | undefined;
  },
  account: string,
  roles: Roles,
): void {
  const role = parseRoleArn(fields.roleArn);
  if (role === undefined) throw invalid(`Invalid role ARN: ${fields.roleArn.slice(0, 200)}`);
  if (role.account !== account) {
    throw invalid('The role must be in the same account as the cluster.');
  }
  if (!roles.trustsPodIdentity(fields.roleArn, undefined)) {
    // The text that the EKS API answers with, according to many reports.
    throw invalid('Trust policy of the role provided is invalid.');
  }
  if (fields.targetRoleArn !== undefined && parseRoleArn(fields.targetRoleArn) === undefined) {
    throw invalid(`Invalid target role ARN: ${fields.targetRoleArn.slice(0, 200)}`);
  }
  if (fields.policy === undefined) return;
  if (!fields.disableSessionTags) {
    throw invalid('disableSessionTags must be true when a policy is specified.');
  }
  const policy = orInvalid(() => JSON.parse(fields.policy as string) as unknown);
  if (!isRecord(policy) || policy.Statement === undefined) throw invalid('Invalid policy.');
}

function checkTags(tags: Record<string, string>): void {
  if (Object.keys(tags).length > TAG_LIMIT) throw invalid(`More than ${TAG_LIMIT} tags.`);
  for (const [key, value] of Object.entries(tags)) {
    if (key.length < 1 || key.length > 128) throw invalid('A tag key has 1 to 128 characters.');
    if (value.length > 256) throw invalid('A tag value has at most 256 characters.');
    if (/^aws:/i.test(key)) throw invalid('Tag keys that begin with aws: are reserved.');
  }
}

function orInvalid<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw invalid((error as Error).message);
  }
}

function invalid(message: string) {
  return modelled('InvalidParameterException', message);
}
