const MAX_LENGTH = 512;
const REDACTED = '[redacted]';

/** The header that holds the node's session token; signature errors quote it. */
const SECURITY_TOKEN_HEADER = /(x-amz-security-token\s*[:=]\s*)\S+/gi;
/** A JWT, whole or cut: its header is a JSON object, so it begins with `eyJ`. */
const JWT = /eyJ[\w=-]*(?:\.[\w=-]*)*/g;
/** A run of base64 that is too long for a name: a session token, a signature, a token's part. */
const LONG_RUN = /[\w+/=-]{80,}/g;
const CONTROL = /\p{C}+/gu;

/**
 * Makes foreign text fit for logs and answers: without tokens, secrets and control characters,
 * at most 512 characters.
 *
 * @param text - what a service, a proxy or a library said.
 */
export function scrub(text: string): string {
  const clean = text
    .replace(SECURITY_TOKEN_HEADER, `$1${REDACTED}`)
    .replace(JWT, REDACTED)
    .replace(LONG_RUN, REDACTED)
    .replace(CONTROL, ' ')
    .trim();
  return clean.length > MAX_LENGTH ? `${clean.slice(0, MAX_LENGTH - 1)}…` : clean;
}
