import { ServiceException, type ServiceExceptionOptions } from '@smithy/core/client';

/** Constructor options of the exceptions: a message and the response metadata. */
export type ExceptionOptions = Omit<ServiceExceptionOptions, 'name' | '$fault'>;

/**
 * Base class of all error answers of EKS Auth. An error that is not in the service's model (AWS's
 * front end has some) is an instance of this class itself; its `name` is the error code.
 */
export class EKSAuthServiceException extends ServiceException {
  constructor(options: ServiceExceptionOptions) {
    super(options);
    Object.setPrototypeOf(this, new.target.prototype);
  }
}

/** The call rate of the account is too high. Status 429. */
export class ThrottlingException extends EKSAuthServiceException {
  override readonly name = 'ThrottlingException';
  override readonly $fault = 'client';

  constructor(options: ExceptionOptions) {
    super({ ...options, name: 'ThrottlingException', $fault: 'client' });
  }
}

/** The request contains a semantic error. Status 400. */
export class InvalidRequestException extends EKSAuthServiceException {
  override readonly name = 'InvalidRequestException';
  override readonly $fault = 'client';

  constructor(options: ExceptionOptions) {
    super({ ...options, name: 'InvalidRequestException', $fault: 'client' });
  }
}

/** A parameter is invalid. Status 400. */
export class InvalidParameterException extends EKSAuthServiceException {
  override readonly name = 'InvalidParameterException';
  override readonly $fault = 'client';

  constructor(options: ExceptionOptions) {
    super({ ...options, name: 'InvalidParameterException', $fault: 'client' });
  }
}

/** The service account token is invalid. Status 400. */
export class InvalidTokenException extends EKSAuthServiceException {
  override readonly name = 'InvalidTokenException';
  override readonly $fault = 'client';

  constructor(options: ExceptionOptions) {
    super({ ...options, name: 'InvalidTokenException', $fault: 'client' });
  }
}

/** The service account token is expired. Status 400. */
export class ExpiredTokenException extends EKSAuthServiceException {
  override readonly name = 'ExpiredTokenException';
  override readonly $fault = 'client';

  constructor(options: ExceptionOptions) {
    super({ ...options, name: 'ExpiredTokenException', $fault: 'client' });
  }
}

/** The node's role may not make the call, or the association's role may not be assumed. Status 400. */
export class AccessDeniedException extends EKSAuthServiceException {
  override readonly name = 'AccessDeniedException';
  override readonly $fault = 'client';

  constructor(options: ExceptionOptions) {
    super({ ...options, name: 'AccessDeniedException', $fault: 'client' });
  }
}

/** No association for this service account, or no such cluster. Status 404. */
export class ResourceNotFoundException extends EKSAuthServiceException {
  override readonly name = 'ResourceNotFoundException';
  override readonly $fault = 'client';

  constructor(options: ExceptionOptions) {
    super({ ...options, name: 'ResourceNotFoundException', $fault: 'client' });
  }
}

/** An internal error of the service. Status 500. */
export class InternalServerException extends EKSAuthServiceException {
  override readonly name = 'InternalServerException';
  override readonly $fault = 'server';

  constructor(options: ExceptionOptions) {
    super({ ...options, name: 'InternalServerException', $fault: 'server' });
  }
}

/** The service is unavailable; back off and try again. Status 503. */
export class ServiceUnavailableException extends EKSAuthServiceException {
  override readonly name = 'ServiceUnavailableException';
  override readonly $fault = 'server';

  constructor(options: ExceptionOptions) {
    super({ ...options, name: 'ServiceUnavailableException', $fault: 'server' });
  }
}
