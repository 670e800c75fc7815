import type { EpochMs } from '../clock.ts';
import { MalformedAnswerError } from './failure.ts';
import {
  AssumeRoleForPodIdentityCommand,
  type AssumeRoleForPodIdentityCommandOutput,
  type EKSAuthClient,
} from './index.ts';

/** Credentials of a role as EKS Auth hands them out: plain, checked, fit to cross threads. */
export interface RoleCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
  readonly expiresAt: EpochMs;
  /** The service account that EKS Auth found in the token. */
  readonly subject: { readonly namespace: string; readonly serviceAccount: string };
  /** Always `pods.eks.amazonaws.com`, says the service's model. */
  readonly audience: string;
  readonly associationArn: string;
  readonly associationId: string;
  /** `arn:<partition>:sts::<account>:assumed-role/<role>/<session name>` */
  readonly assumedRoleArn: string;
  /** `<role id>:<session name>` */
  readonly assumedRoleId: string;
  /** The service's id of the call; empty where it gave none. */
  readonly requestId: string;
}

/** Input of {@link assumeRoleForPodIdentity}. */
export interface AssumeRoleInput {
  readonly clusterName: string;
  /** The pod's service account token. */
  readonly token: string;
  /** Ends the call early. */
  readonly signal?: AbortSignal | undefined;
  /** Called with the `Date` of the answer, whoever gave it. Default is nothing. */
  readonly onDate?: ((date: EpochMs) => void) | undefined;
}

/**
 * Exchanges a pod's service account token for credentials of its role, and checks that the
 * answer is complete. Whether it is about the right service account, the caller checks.
 *
 * @throws MalformedAnswerError naming the field, or whatever `client.send` throws;
 * `classify` tells what any of it means.
 */
export async function assumeRoleForPodIdentity(
  client: EKSAuthClient,
  { clusterName, token, signal, onDate }: AssumeRoleInput,
): Promise<RoleCredentials> {
  const output = await client.send(new AssumeRoleForPodIdentityCommand({ clusterName, token }), {
    ...(signal && { abortSignal: signal }),
    onDate,
  });
  return checked(output);
}

/** Longest values that are let through: several times what AWS documents as its limits. */
const MAX_NAME = 253;
const MAX_KEY = 256;
const MAX_ARN = 2_048;
const MAX_SESSION_TOKEN = 16_384;

function checked(output: AssumeRoleForPodIdentityCommandOutput): RoleCredentials {
  const { credentials, subject, podIdentityAssociation, assumedRoleUser } = output;
  const { requestId } = output.$metadata;
  const string = (field: string, value: unknown, maxLength: number): string => {
    const problem = stringProblem(value, maxLength);
    if (problem !== undefined) throw new MalformedAnswerError(field, problem, requestId);
    return value as string;
  };
  const expiresAt = credentials?.expiration?.getTime();
  if (expiresAt === undefined || !Number.isSafeInteger(expiresAt) || expiresAt <= 0) {
    const problem = expiresAt === undefined ? 'is missing' : 'is not a time';
    throw new MalformedAnswerError('credentials.expiration', problem, requestId);
  }
  return {
    accessKeyId: string('credentials.accessKeyId', credentials?.accessKeyId, MAX_KEY),
    secretAccessKey: string('credentials.secretAccessKey', credentials?.secretAccessKey, MAX_KEY),
    sessionToken: string('credentials.sessionToken', credentials?.sessionToken, MAX_SESSION_TOKEN),
    expiresAt,
    subject: {
      namespace: string('subject.namespace', subject?.namespace, MAX_NAME),
      serviceAccount: string('subject.serviceAccount', subject?.serviceAccount, MAX_NAME),
    },
    audience: string('audience', output.audience, MAX_NAME),
    associationArn: string(
      'podIdentityAssociation.associationArn',
      podIdentityAssociation?.associationArn,
      MAX_ARN,
    ),
    associationId: string(
      'podIdentityAssociation.associationId',
      podIdentityAssociation?.associationId,
      MAX_NAME,
    ),
    assumedRoleArn: string('assumedRoleUser.arn', assumedRoleUser?.arn, MAX_ARN),
    assumedRoleId: string('assumedRoleUser.assumeRoleId', assumedRoleUser?.assumeRoleId, MAX_NAME),
    requestId: requestId ?? '',
  };
}

function stringProblem(value: unknown, maxLength: number): string | undefined {
  if (value === undefined || value === null || value === '') return 'is missing';
  if (typeof value !== 'string') return 'is not a string';
  if (value.length > maxLength) return `is longer than ${maxLength} characters`;
  // Whatever else it may hold, it must fit into a header and into a log line.
  if (!/^[!-~]+$/.test(value)) return 'is not printable ASCII';
  return undefined;
}
