import type { EpochMs } from '../clock.ts';
import { AWSServiceError, modelled } from './aws-error.ts';
import type { Principal } from './credential-authority.ts';
import type { AssumeRoleResponse } from './eks-auth.ts';
import type { Fault } from './faults.ts';

/** The error that a fault makes of any call; `undefined` where it does not. */
export function faultyError(
  fault: Pick<Fault, 'kind' | 'code' | 'status' | 'message'>,
  caller: Principal,
  { clusterArn }: { clusterArn: string },
): AWSServiceError | undefined {
  switch (fault.kind) {
    case 'internal-error':
      return modelled('InternalServerException', 'Internal server error.');
    case 'unavailable':
      return modelled('ServiceUnavailableException', 'Service is unavailable.');
    case 'access-denied':
      return modelled(
        'AccessDeniedException',
        `User: ${caller.arn} is not authorized to perform: eks-auth:AssumeRoleForPodIdentity on resource: ${clusterArn} because no identity-based policy allows the eks-auth:AssumeRoleForPodIdentity action`,
      );
    case 'node-credentials-expired':
      return new AWSServiceError(
        'ExpiredTokenException',
        403,
        'The security token included in the request is expired',
      );
    case 'error':
      return new AWSServiceError(
        fault.code ?? 'InternalServerException',
        fault.status ?? 500,
        fault.message ?? 'Injected error.',
      );
    default:
      return undefined;
  }
}

/** A good response spoilt as a fault says; the same where the fault is of another kind. */
export function faultyResponse(
  response: AssumeRoleResponse,
  fault: Fault,
  serviceNow: EpochMs,
): unknown {
  switch (fault.kind) {
    case 'other-subject':
      return { ...response, subject: { namespace: 'other', serviceAccount: 'other' } };
    case 'other-audience':
      return { ...response, audience: 'sts.amazonaws.com' };
    case 'missing-field':
      return without(response, (fault.field ?? 'credentials.sessionToken').split('.'));
    case 'expired':
      return withExpiration(response, Math.floor(serviceNow / 1_000) - 60);
    case 'wrong-expiry':
      return withExpiration(
        response,
        fault.expiration === undefined ? 'tomorrow' : fault.expiration,
      );
    default:
      return response;
  }
}

function withExpiration(response: AssumeRoleResponse, expiration: unknown) {
  return { ...response, credentials: { ...response.credentials, expiration } };
}

function without(value: object, [first, ...rest]: string[]): object {
  const copy: Record<string, unknown> = { ...value };
  if (first === undefined) return copy;
  const inner = copy[first];
  if (rest.length === 0) delete copy[first];
  else if (typeof inner === 'object' && inner !== null) copy[first] = without(inner, rest);
  return copy;
}
