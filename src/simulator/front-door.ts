import type { EpochMs } from '../clock.ts';
import { AWSServiceError } from './aws-error.ts';
import type { CredentialAuthority, Principal } from './credential-authority.ts';
import type { Exchange } from './exchange.ts';
import { SignatureError, type SignatureFault, verifySignature } from './signature-v4.ts';

/** What AWS's front door does before a service sees a request: who is calling? */
export interface FrontDoor {
  authority: CredentialAuthority;
  region: string;
  /** The services' clock. */
  serviceNow: () => EpochMs;
}

/** Names of signature faults in services with JSON protocols, all of them 403. */
const JSON_NAMES: Record<SignatureFault, string> = {
  missing: 'MissingAuthenticationTokenException',
  incomplete: 'IncompleteSignatureException',
  'unknown-credentials': 'UnrecognizedClientException',
  'invalid-signature': 'InvalidSignatureException',
  'expired-credentials': 'ExpiredTokenException',
};

/** Names of signature faults in STS. */
const QUERY_NAMES: Record<SignatureFault, string> = {
  missing: 'MissingAuthenticationToken',
  incomplete: 'IncompleteSignature',
  'unknown-credentials': 'InvalidClientTokenId',
  'invalid-signature': 'SignatureDoesNotMatch',
  'expired-credentials': 'ExpiredToken',
};

/** How far a signer's clock may be off: 5 minutes, and 15 at STS. */
const MAX_SKEW = { 'eks-auth': 300_000, eks: 300_000, sts: 900_000 };

/**
 * Verifies who signed a request, and notes the caller in its audit event.
 *
 * @throws AWSServiceError - 403 (`IncompleteSignature` of STS: 400).
 * @see https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
 */
export function authenticate(
  exchange: Exchange,
  service: 'eks-auth' | 'eks' | 'sts',
  door: FrontDoor,
): Principal {
  try {
    const principal = verifySignature(
      {
        method: exchange.method,
        path: exchange.path,
        query: exchange.query,
        headers: exchange.request.headersDistinct,
        body: exchange.body,
      },
      {
        authority: door.authority,
        service,
        region: door.region,
        now: door.serviceNow(),
        maxSkew: MAX_SKEW[service],
      },
    );
    exchange.audit.callerArn = principal.arn;
    exchange.audit.callerAccessKeyId = principal.accessKeyId;
    return principal;
  } catch (error) {
    if (!(error instanceof SignatureError)) throw error;
    const name = (service === 'sts' ? QUERY_NAMES : JSON_NAMES)[error.fault];
    throw new AWSServiceError(name, name === 'IncompleteSignature' ? 400 : 403, error.message);
  }
}

/** Answers an error as services with REST-JSON protocols do. */
export function answerError(exchange: Exchange, error: unknown): void {
  const known =
    error instanceof AWSServiceError
      ? error
      : new AWSServiceError('InternalServerException', 500, String(error));
  exchange.audit.errorCode = known.code;
  exchange.audit.errorMessage = known.message;
  exchange.json(known.status, { message: known.message }, { 'x-amzn-ErrorType': known.code });
}
