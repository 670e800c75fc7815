import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { DurationMs, EpochMs } from '../clock.ts';
import type { CredentialAuthority, Principal } from './credential-authority.ts';

/** What is wrong with a request's signature; each service has its own name for it. */
export type SignatureFault =
  | 'missing'
  | 'incomplete'
  | 'unknown-credentials'
  | 'invalid-signature'
  | 'expired-credentials';

/** A request that is not signed as it must be. */
export class SignatureError extends Error {
  override readonly name = 'SignatureError';
  readonly code = 'ERR_SIGNATURE';
  readonly fault: SignatureFault;

  constructor(fault: SignatureFault, message: string) {
    super(message);
    this.fault = fault;
  }
}

/** The parts of a request that a signature covers, as they came over the wire. */
export interface SignedRequest {
  method: string;
  /** Still percent-encoded. */
  path: string;
  /** Still percent-encoded, without the question mark. */
  query: string;
  headers: NodeJS.Dict<string[]>;
  body: Buffer;
}

/** What a signature must have been made for. */
export interface SignatureContext {
  authority: CredentialAuthority;
  service: string;
  region: string;
  now: EpochMs;
  /** How far the signer's clock may be off, milliseconds. */
  maxSkew: DurationMs;
}

const SCHEME = 'AWS4-HMAC-SHA256';
const MISMATCH =
  'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.';

/**
 * Verifies a request's Signature Version 4 as AWS's front door does, from the bytes received.
 *
 * @returns Who signed it.
 * @throws SignatureError
 * @see https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
 */
export function verifySignature(request: SignedRequest, context: SignatureContext): Principal {
  const header = joined(request.headers, 'authorization');
  if (header === undefined) throw new SignatureError('missing', 'Missing Authentication Token');
  const { credential, signedHeaders, signature } = parseAuthorization(header);
  const [accessKeyId, date, region, service, terminator, ...rest] = credential.split('/');
  if (terminator !== 'aws4_request' || rest.length > 0 || !accessKeyId || !date || !service) {
    throw new SignatureError(
      'incomplete',
      `Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '${shown(credential)}'`,
    );
  }
  const principal = context.authority.find(
    accessKeyId,
    joined(request.headers, 'x-amz-security-token'),
  );
  if (principal === undefined) {
    throw new SignatureError(
      'unknown-credentials',
      'The security token included in the request is invalid.',
    );
  }
  if (region !== context.region) {
    throw new SignatureError(
      'invalid-signature',
      `Credential should be scoped to a valid region, not '${shown(region ?? '')}'.`,
    );
  }
  if (service !== context.service) {
    throw new SignatureError(
      'invalid-signature',
      `Credential should be scoped to correct service: '${context.service}'.`,
    );
  }
  const signedAt = signingTime(request.headers);
  if (date !== signedAt.slice(0, 8)) {
    throw new SignatureError(
      'invalid-signature',
      `Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '${shown(date)}' != '${signedAt.slice(0, 8)}', from '${signedAt}'.`,
    );
  }
  if (!signedHeaders.includes('host')) {
    throw new SignatureError(
      'invalid-signature',
      "'Host' must be a 'SignedHeader' in the AWS Authorization.",
    );
  }
  checkSkew(signedAt, context);
  const scope = `${date}/${region}/${service}/aws4_request`;
  const canonical = canonicalRequest(request, signedHeaders);
  const toSign = `${SCHEME}\n${signedAt}\n${scope}\n${sha256(Buffer.from(canonical, 'latin1'))}`;
  const expected = createHmac(
    'sha256',
    signingKey(principal.secretAccessKey, date, region, service),
  )
    .update(toSign)
    .digest();
  const given = Buffer.from(signature, 'hex');
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
    throw new SignatureError('invalid-signature', MISMATCH);
  }
  if (principal.expiresAt !== undefined && principal.expiresAt <= context.now) {
    throw new SignatureError(
      'expired-credentials',
      'The security token included in the request is expired',
    );
  }
  return principal;
}

/** A time in the form of `x-amz-date`. */
function amzDate(time: EpochMs): string {
  return new Date(time).toISOString().replace(/[-:]|\.\d{3}/g, '');
}

function parseAuthorization(header: string) {
  const fields = new Map<string, string>();
  const space = header.indexOf(' ');
  if (header.slice(0, space) !== SCHEME) {
    throw new SignatureError('incomplete', `Authorization header is not of the scheme ${SCHEME}`);
  }
  for (const part of header.slice(space + 1).split(',')) {
    const equals = part.indexOf('=');
    if (equals > 0) fields.set(part.slice(0, equals).trim(), part.slice(equals + 1).trim());
  }
  for (const name of ['Credential', 'Signature', 'SignedHeaders']) {
    if (!fields.get(name)) {
      throw new SignatureError(
        'incomplete',
        `Authorization header requires '${name}' parameter. (Hashed with SHA-256 and encoded with Base64)`,
      );
    }
  }
  return {
    credential: fields.get('Credential') as string,
    signature: fields.get('Signature') as string,
    signedHeaders: (fields.get('SignedHeaders') as string).toLowerCase().split(';'),
  };
}

function signingTime(headers: NodeJS.Dict<string[]>): string {
  const amz = joined(headers, 'x-amz-date');
  if (amz !== undefined && /^\d{8}T\d{6}Z$/.test(amz)) return amz;
  const date = Date.parse(joined(headers, 'date') ?? '');
  if (amz === undefined && !Number.isNaN(date)) return amzDate(date);
  throw new SignatureError(
    'incomplete',
    "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
  );
}

function checkSkew(signedAt: string, { now, maxSkew }: SignatureContext): void {
  const [, year, month, day, hour, minute, second] = (
    /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(signedAt) as RegExpExecArray
  ).map(Number) as [number, number, number, number, number, number, number];
  const time = Date.UTC(year, month - 1, day, hour, minute, second);
  const minutes = Math.round(maxSkew / 60_000);
  if (time < now - maxSkew) {
    throw new SignatureError(
      'invalid-signature',
      `Signature expired: ${signedAt} is now earlier than ${amzDate(now - maxSkew)} (${amzDate(now)} - ${minutes} min.)`,
    );
  }
  if (time > now + maxSkew) {
    throw new SignatureError(
      'invalid-signature',
      `Signature not yet current: ${signedAt} is still later than ${amzDate(now + maxSkew)} (${amzDate(now)} + ${minutes} min.)`,
    );
  }
}

function canonicalRequest(request: SignedRequest, signedHeaders: readonly string[]): string {
  const lines = signedHeaders.map((name) => {
    const value = joined(request.headers, name) ?? '';
    return `${name}:${value.trim().replace(/\s+/g, ' ')}\n`;
  });
  const payloadHash = sha256(request.body);
  const declared = joined(request.headers, 'x-amz-content-sha256');
  if (declared !== undefined && declared !== payloadHash) {
    throw new SignatureError('invalid-signature', MISMATCH);
  }
  return [
    request.method,
    // All services but S3 sign the path encoded once more than it is sent.
    request.path.split('/').map(encodeSegment).join('/'),
    request.query.split('&').map(queryPair).sort(byKeyThenValue).map(pairText).join('&'),
    `${lines.join('')}\n${signedHeaders.join(';')}`,
    payloadHash,
  ].join('\n');
}

function encodeSegment(segment: string): string {
  return segment.replace(
    /[^A-Za-z0-9\-._~]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  );
}

type Pair = [key: string, value: string] | undefined;
function queryPair(part: string): Pair {
  if (part === '') return undefined;
  const equals = part.indexOf('=');
  return equals < 0
    ? [reencode(part), '']
    : [reencode(part.slice(0, equals)), reencode(part.slice(equals + 1))];
}
/** Clients escape different characters; the canonical form escapes all but the unreserved. */
function reencode(part: string): string {
  try {
    return encodeURIComponent(decodeURIComponent(part)).replace(/[!'()*]/g, encodeSegment);
  } catch {
    return part;
  }
}
function byKeyThenValue(left: Pair, right: Pair): number {
  if (left === undefined || right === undefined) return 0;
  if (left[0] !== right[0]) return left[0] < right[0] ? -1 : 1;
  return left[1] === right[1] ? 0 : left[1] < right[1] ? -1 : 1;
}
function pairText(pair: Pair): string {
  return pair === undefined ? '' : `${pair[0]}=${pair[1]}`;
}

/** Signing keys of the day: deriving one costs four times what using it does. */
const signingKeys = new Map<string, Buffer>();
function signingKey(secret: string, date: string, region: string, service: string): Buffer {
  const name = `${date}/${region}/${service}/${secret}`;
  let key = signingKeys.get(name);
  if (key === undefined) {
    key = [date, region, service, 'aws4_request'].reduce<Buffer>(
      (parent, part) => createHmac('sha256', parent).update(part).digest(),
      Buffer.from(`AWS4${secret}`),
    );
    if (signingKeys.size >= 1_000) signingKeys.clear();
    signingKeys.set(name, key);
  }
  return key;
}

function joined(headers: NodeJS.Dict<string[]>, name: string): string | undefined {
  return headers[name]?.join(',');
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function shown(value: string): string {
  return value.slice(0, 128);
}
