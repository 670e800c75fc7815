import type { EpochMs } from '../clock.ts';
import { MalformedAnswerError } from './failure.ts';
import {
  AssumeRoleForPodIdentityCommand,
  type AssumeRoleForPodIdentityCommandOutput,
  type EKSAuthClient,
} from './index.ts';

/** Credentials of a role from EKS Auth: a checked, plain object that can cross threads. */
export interface RoleCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
  readonly expiresAt: EpochMs;
  /** The service account that EKS Auth found in the token. */
  readonly subject: { readonly namespace: string; readonly serviceAccount: string };
  /** Always `pods.eks.amazonaws.com`, according to the service's model. */
  readonly audience: string;
  readonly associationArn: string;
  readonly associationId: string;
  /** `arn:<partition>:sts::<account>:assumed-role/<role>/<session name>` */
  readonly assumedRoleArn: string;
  /** `<role id>:<session name>` */
  readonly assumedRoleId: string;
  /** The service's id of the call; empty if there is none. */
  readonly requestId: string;
}

/** Input of {@link assumeRoleForPodIdentity}. */
export interface AssumeRoleInput {
  readonly clusterName: string;
  /** The pod's service account token. */
  readonly token: string;
  /** Aborts the call. Default: none. */
  readonly signal?: AbortSignal | undefined;
  /** Called with the `Date` of the response, also if a proxy sent it. Default: none. */
  readonly onDate?: ((date: EpochMs) => void) | undefined;
}

/**
 * Exchanges a pod's service account token for credentials of its role, and checks that the
 * answer is complete. The caller has to check that it is for the right service account.
 *
 * @throws MalformedAnswerError naming the field, or whatever `client.send` throws; see `classify`.
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

/** The longest accepted values: several times the limits that AWS documents. */
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
  // It must be safe in a header and in a log line.
  if (!/^[!-~]+$/.test(value)) return 'is not printable ASCII';
  return undefined;
}
