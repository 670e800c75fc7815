// Names that whoever reads the broker's spans has to know; readers do without OpenTelemetry's
// packages.

/** Prefix of the attributes that no convention names. */
export const OWN = 'pod_identity_broker';

/** Span of a renewal, the root of its trace. */
export const RENEWAL_SPAN = 'renew session';

/** Span of a call to EKS Auth: `Service.Operation`, as the conventions for AWS want it. */
export const CALL_SPAN = 'EKSAuth.AssumeRoleForPodIdentity';

/** Whose session it is; no convention has a name for service accounts. */
export const SERVICE_ACCOUNT = `${OWN}.service_account`;
/** Why a request was refused (4xx): the code in the answer's body. */
export const REFUSAL = `${OWN}.refusal`;
/** How a request found its session. */
export const LOOKUP = `${OWN}.lookup`;
/** Event of a call: one try, from its time on for {@link DURATION_MS}. */
export const ATTEMPT_EVENT = 'attempt';
/** A fetch that found its credentials in the store, and called nobody. */
export const FROM_STORE = `${OWN}.from_store`;
/** How long what an event tells of took. */
export const DURATION_MS = `${OWN}.duration_ms`;
/** Event of a call: the next try is made {@link PAUSE_MS} later, or when its turn comes after that. */
export const BACK_OFF_EVENT = 'back-off';
/** How long a call waits at least. */
export const PAUSE_MS = `${OWN}.pause_ms`;
/** Region of the service that is called (conventions for AWS, still in development). */
export const CLOUD_REGION = 'cloud.region';
/** The service's id of a call (conventions for AWS, still in development). */
export const AWS_REQUEST_ID = 'aws.request_id';
/** HTTP status that a request was answered with (conventions for HTTP). */
export const STATUS_CODE = 'http.response.status_code';
/** What went wrong (general conventions). */
export const ERROR_TYPE = 'error.type';
/** Namespace of a session (conventions for Kubernetes). */
export const NAMESPACE = 'k8s.namespace.name';
