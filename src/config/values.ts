import { isIP } from 'node:net';

// Readers of single flag values. Each takes the text as the user wrote it, and throws a
// TypeError that says what is wrong with it; the command line puts the flag's name in front.

/** A whole number from `min` to `max`, in decimal. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) {
      throw new TypeError(`must be a whole number from ${min} to ${max}`);
    }
    return value;
  };
}

/** What follows `/readyz/` in the path of a probe. */
export function pathSegment(text: string): string {
  if (!/^[\w.-]{1,64}$/.test(text)) {
    throw new TypeError('must be 1 to 64 letters, digits, dots, dashes or underscores');
  }
  return text;
}

/** A TCP port to listen on, 1 to 65535. */
export const port = wholeNumber(1, 65_535);

/** A rate, a decimal number above zero, per second. */
export function rate(text: string): number {
  const value = /^\d{1,9}(\.\d{1,6})?$/.test(text) ? Number(text) : Number.NaN;
  if (!(value > 0)) throw new TypeError('must be a number above zero');
  return value;
}

/** A rate as {@link rate} takes it, or 0. */
export function rateOrZero(text: string): number {
  return /^0+(\.0+)?$/.test(text) ? 0 : rate(text);
}

/**
 * A boolean in the forms of Go's `strconv.ParseBool`, which the existing agent takes.
 *
 * @see https://pkg.go.dev/strconv#ParseBool
 */
export function boolean(text: string): boolean {
  if (['1', 't', 'T', 'TRUE', 'true', 'True'].includes(text)) return true;
  if (['0', 'f', 'F', 'FALSE', 'false', 'False'].includes(text)) return false;
  throw new TypeError('must be true or false');
}

/** One of the words of `choices`. */
export function oneOf<const T extends string>(choices: readonly T[]): (text: string) => T {
  return (text) => {
    const choice = choices.find((known) => known === text);
    if (choice === undefined) throw new TypeError(`must be one of ${choices.join(', ')}`);
    return choice;
  };
}

/**
 * The name of an EKS cluster.
 *
 * @see https://docs.aws.amazon.com/eks/latest/APIReference/API_auth_AssumeRoleForPodIdentity.html
 */
export function clusterName(text: string): string {
  if (!/^[0-9A-Za-z][A-Za-z0-9_-]{0,99}$/.test(text)) {
    throw new TypeError(
      'must be 1 to 100 letters, digits, hyphens or underscores, and begin with a letter or digit',
    );
  }
  return text;
}

/**
 * Addresses to listen on: IP addresses (IPv6 with or without brackets) or `localhost`, one
 * or several with commas between them.
 *
 * @returns The addresses without brackets, IPv6 in its shortest form, as clients write it in
 *   their Host header, and IPv4 that was mapped into IPv6 as what it is.
 */
export function hosts(text: string): string[] {
  return text.split(',').map((item) => {
    const bare = item.trim().replace(/^\[(.*)\]$/, '$1');
    if (bare !== 'localhost' && isIP(bare) === 0) {
      throw new TypeError(`${JSON.stringify(item)} is not an IP address`);
    }
    // No URL can hold an address with a zone, so that stays as it is.
    const hostname = isIP(bare) === 6 ? URL.parse(`http://[${bare}]`)?.hostname : undefined;
    return unmapped(hostname?.slice(1, -1) ?? bare);
  });
}

/** An IPv4 address that is mapped into IPv6 (RFC 4291, section 2.5.5.2) as IPv4; others as they are. */
function unmapped(address: string): string {
  const [, high, low] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(address) ?? [];
  if (high === undefined || low === undefined) return address;
  return [high, low]
    .map((half) => Number.parseInt(half, 16))
    .flatMap((half) => [half >> 8, half & 255])
    .join('.');
}

/** One address to listen on, as {@link hosts} takes it. */
export function host(text: string): string {
  const [first, ...others] = hosts(text);
  if (first === undefined || others.length > 0) throw new TypeError('must be one address');
  return first;
}

/** An absolute `http` or `https` URL without credentials, query or fragment. */
export function url(text: string): URL {
  const parsed = /\s/.test(text) ? null : URL.parse(text);
  if (parsed === null || !['http:', 'https:'].includes(parsed.protocol)) {
    throw new TypeError('must be a URL that begins with https:// or http://');
  }
  if (parsed.username !== '' || parsed.password !== '') {
    throw new TypeError('must hold no user name or password');
  }
  if (parsed.search !== '' || parsed.hash !== '') {
    throw new TypeError('must have no query and no fragment');
  }
  return parsed;
}

/** A URL whose answers are trusted: HTTPS, or plain HTTP to a loopback address. */
export function trustedUrl(text: string): URL {
  const parsed = url(text);
  if (!isTrustedUrl(parsed)) {
    throw new TypeError('must begin with https:// (plain http only to a loopback address)');
  }
  return parsed;
}

/**
 * The `iss` of tokens: a URL whose answers are trusted. It stays as it is written, since
 * issuers are compared letter by letter (RFC 8414, section 4), a slash at the end included.
 */
export function issuer(text: string): string {
  trustedUrl(text);
  return text;
}

/** Whether what `target` answers can be trusted: HTTPS, or plain HTTP to a loopback address. */
export function isTrustedUrl(target: URL): boolean {
  if (target.protocol === 'https:') return true;
  const name = target.hostname.replace(/^\[(.*)\]$/, '$1');
  // A name can begin with `127.` too, and be anybody's.
  const isLoopback = isIP(name) === 4 ? name.startsWith('127.') : /^(::1|localhost)$/.test(name);
  return target.protocol === 'http:' && isLoopback;
}

/** A namespace, or a namespace and a service account with a slash between them. */
export interface PodScopeRule {
  readonly namespace: string;
  /** Undefined: every service account of the namespace. */
  readonly serviceAccount: string | undefined;
}

/**
 * What `--pod-scope` takes: `namespace` or `namespace/service-account`.
 *
 * @see https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
 */
export function podScopeRule(text: string): PodScopeRule {
  const match =
    /^([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)(?:\/([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?))?$/.exec(
      text,
    );
  if (match === null) throw new TypeError('must be a namespace, or namespace/service-account');
  return { namespace: match[1] as string, serviceAccount: match[2] };
}

/**
 * The key of a label or taint: a name of up to 63 characters, which may have a DNS name and a
 * slash in front.
 *
 * @see https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
 */
export function labelKey(text: string): string {
  const [name = '', prefix, ...others] = text.split('/').reverse();
  const named = /^[A-Za-z0-9](?:[\w.-]{0,61}[A-Za-z0-9])?$/.test(name);
  const prefixed =
    prefix === undefined ||
    (prefix.length <= 253 &&
      /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/.test(prefix));
  if (!named || !prefixed || others.length > 0) {
    throw new TypeError('must be the key of a taint, such as example.com/agent-not-ready');
  }
  return text;
}
