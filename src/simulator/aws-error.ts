/**
 * An error as an AWS service answers it: a code, an HTTP status and a message. Which shape it
 * takes on the wire (REST-JSON or the query protocol's XML) is the service's affair.
 */
export class AWSServiceError extends Error {
  override readonly name = 'AWSServiceError';
  /** The error's name in the service model, such as `ThrottlingException`. */
  readonly code: string;
  readonly status: number;

  constructor(code: string, status: number, message: string) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/** Statuses of the errors in the models of EKS (2017-11-01) and EKS Auth (2023-11-26). */
const MODELLED_STATUS: Readonly<Record<string, number>> = {
  AccessDeniedException: 400,
  ExpiredTokenException: 400,
  InternalServerException: 500,
  InvalidParameterException: 400,
  InvalidRequestException: 400,
  InvalidTokenException: 400,
  ResourceInUseException: 409,
  ResourceLimitExceededException: 400,
  ResourceNotFoundException: 404,
  ServerException: 500,
  ServiceUnavailableException: 503,
  ThrottlingException: 429,
};

/** An error of the service models, with its status from {@link MODELLED_STATUS}. */
export function modelled(code: keyof typeof MODELLED_STATUS & string, message: string) {
  return new AWSServiceError(code, MODELLED_STATUS[code] ?? 400, message);
}
