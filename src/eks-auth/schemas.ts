import { TypeRegistry } from '@smithy/core/schema';
import type {
  StaticErrorSchema,
  StaticOperationSchema,
  StaticSimpleSchema,
  StaticStructureSchema,
} from '@smithy/types';
import {
  AccessDeniedException,
  EKSAuthServiceException,
  type ExceptionOptions,
  ExpiredTokenException,
  InternalServerException,
  InvalidParameterException,
  InvalidRequestException,
  InvalidTokenException,
  ResourceNotFoundException,
  ServiceUnavailableException,
  ThrottlingException,
} from './exceptions.ts';

// The service's model, API version 2023-11-26, in the form that the SDK's serializers read:
// [kind of shape, namespace, name, traits, member names, member shapes, how many are required].

export const NAMESPACE = 'com.amazonaws.eksauth';
const SYNTHETIC = `smithy.ts.sdk.synthetic.${NAMESPACE}`;

const STRUCTURE = 3;
const ERROR = -3;
const OPERATION = 9;
const SIMPLE = 0;
const STRING = 0;
const TIMESTAMP = 4;
const NO_TRAITS = 0;
const HTTP_LABEL = 1;
/** The SDK's logger writes a placeholder for shapes with this trait. */
const SENSITIVE = 8;

const JwtToken: StaticSimpleSchema = [SIMPLE, NAMESPACE, 'JwtToken', SENSITIVE, STRING];

const AssumeRoleForPodIdentityRequest: StaticStructureSchema = [
  STRUCTURE,
  NAMESPACE,
  'AssumeRoleForPodIdentityRequest',
  NO_TRAITS,
  ['clusterName', 'token'],
  [
    [STRING, HTTP_LABEL],
    [() => JwtToken, NO_TRAITS],
  ],
  2,
];

const Subject: StaticStructureSchema = [
  STRUCTURE,
  NAMESPACE,
  'Subject',
  NO_TRAITS,
  ['namespace', 'serviceAccount'],
  [STRING, STRING],
  2,
];

const PodIdentityAssociation: StaticStructureSchema = [
  STRUCTURE,
  NAMESPACE,
  'PodIdentityAssociation',
  NO_TRAITS,
  ['associationArn', 'associationId'],
  [STRING, STRING],
  2,
];

const AssumedRoleUser: StaticStructureSchema = [
  STRUCTURE,
  NAMESPACE,
  'AssumedRoleUser',
  NO_TRAITS,
  ['arn', 'assumeRoleId'],
  [STRING, STRING],
  2,
];

const Credentials: StaticStructureSchema = [
  STRUCTURE,
  NAMESPACE,
  'Credentials',
  SENSITIVE,
  ['sessionToken', 'secretAccessKey', 'accessKeyId', 'expiration'],
  [STRING, STRING, STRING, TIMESTAMP],
  4,
];

const AssumeRoleForPodIdentityResponse: StaticStructureSchema = [
  STRUCTURE,
  NAMESPACE,
  'AssumeRoleForPodIdentityResponse',
  NO_TRAITS,
  ['subject', 'audience', 'podIdentityAssociation', 'assumedRoleUser', 'credentials'],
  [
    () => Subject,
    STRING,
    () => PodIdentityAssociation,
    () => AssumedRoleUser,
    [() => Credentials, NO_TRAITS],
  ],
  5,
];

export const AssumeRoleForPodIdentity: StaticOperationSchema = [
  OPERATION,
  NAMESPACE,
  'AssumeRoleForPodIdentity',
  { http: ['POST', '/clusters/{clusterName}/assume-role-for-pod-identity', 200] },
  () => AssumeRoleForPodIdentityRequest,
  () => AssumeRoleForPodIdentityResponse,
];

type ExceptionClass = new (options: ExceptionOptions) => EKSAuthServiceException;

/** The errors of the model, with their HTTP status. */
const modelled: [string, number, ExceptionClass][] = [
  ['ThrottlingException', 429, ThrottlingException],
  ['InvalidRequestException', 400, InvalidRequestException],
  ['InvalidParameterException', 400, InvalidParameterException],
  ['InvalidTokenException', 400, InvalidTokenException],
  ['ExpiredTokenException', 400, ExpiredTokenException],
  ['AccessDeniedException', 400, AccessDeniedException],
  ['ResourceNotFoundException', 404, ResourceNotFoundException],
  ['InternalServerException', 500, InternalServerException],
  ['ServiceUnavailableException', 503, ServiceUnavailableException],
];

/**
 * Maps error codes to classes for the SDK. A code that is not in it becomes an
 * {@link EKSAuthServiceException} of that name.
 */
export const errorTypeRegistries: TypeRegistry[] = (() => {
  const base = new TypeRegistry(SYNTHETIC);
  const baseSchema: StaticErrorSchema = [ERROR, SYNTHETIC, 'EKSAuthServiceException', 0, [], []];
  base.registerError(baseSchema, EKSAuthServiceException);
  const service = new TypeRegistry(NAMESPACE);
  for (const [name, httpError, exception] of modelled) {
    const error = httpError < 500 ? 'client' : 'server';
    const schema: StaticErrorSchema = [
      ERROR,
      NAMESPACE,
      name,
      { error, httpError },
      ['message'],
      [STRING],
    ];
    service.registerError(schema, exception);
  }
  return [base, service];
})();
