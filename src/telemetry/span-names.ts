// Names that whoever reads the broker's spans has to know. OpenTelemetry's own come from its
// semantic conventions for HTTP, RPC and AWS.

/** Prefix of the attributes that no convention names. */
export const OWN = 'pod_identity_broker';

/** Span of a renewal, the root of its trace. */
export const RENEWAL_SPAN = 'renew session';

/** How a request found its session. */
export const LOOKUP = `${OWN}.lookup`;
/** Event of a call: one try, from its time on for {@link DURATION_MS}. */
export const ATTEMPT_EVENT = 'attempt';
/** A fetch that found its credentials in the store, and called nobody. */
export const FROM_STORE = `${OWN}.from_store`;
/** How long what an event tells of took. */
export const DURATION_MS = `${OWN}.duration_ms`;
/** HTTP status that a request was answered with. */
export const STATUS_CODE = 'http.response.status_code';
