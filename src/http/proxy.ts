import { BlockList, isIP } from 'node:net';

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Gives the proxy for an origin, or `undefined` where the origin is reached directly. */
export type ProxyChooser = (origin: URL) => URL | undefined;

/** A variable that should name a proxy does not. Its value may hold a password: it is not repeated. */
export class ProxyUrlError extends TypeError {
  override readonly name = 'ProxyUrlError';
  readonly code = 'ERR_PROXY_URL';

  /** @param variable - Its name. */
  constructor(variable: string) {
    super(`${variable}: not an http or https URL`);
  }
}

/**
 * Reads `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` (or their lower-case names, which win).
 *
 * The rules are those of Go's `net/http`, which the existing agent and most of what runs on a
 * node follow: each variable counts for its own scheme only, loopback is always reached
 * directly, and an entry of `NO_PROXY` is `*`, an address, a CIDR block, a host name (which
 * stands for its subdomains too) or, with a leading dot, for its subdomains only; each may
 * carry a port.
 *
 * @param env - the environment to read.
 * @throws ProxyUrlError naming the variable that is not the URL of a proxy.
 */
export function proxyFromEnvironment(env: Environment): ProxyChooser {
  const proxies = new Map([
    ['https:', proxyUrl(env, 'HTTPS_PROXY')],
    ['http:', proxyUrl(env, 'HTTP_PROXY')],
  ]);
  const isExempt = exemptions(read(env, 'NO_PROXY') ?? '');
  return (origin) => {
    const proxy = proxies.get(origin.protocol);
    return proxy && !isExempt(origin) ? proxy : undefined;
  };
}

function read(env: Environment, name: string): string | undefined {
  return env[nameUsed(env, name)] || undefined;
}

/** The name under which a variable is set: the one in lower case, where both are. */
function nameUsed(env: Environment, name: string): string {
  return env[name.toLowerCase()] ? name.toLowerCase() : name;
}

function proxyUrl(env: Environment, name: string): URL | undefined {
  const value = read(env, name);
  if (value === undefined) return undefined;
  // `proxy.example:3128` is commonly written for `http://proxy.example:3128`.
  const url = URL.parse(value.includes('://') ? value : `http://${value}`);
  if (!url?.hostname || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new ProxyUrlError(nameUsed(env, name));
  }
  return url;
}

type Exemption = (host: string, port: string) => boolean;

function exemptions(list: string): (origin: URL) => boolean {
  const entries = list
    .split(/[\s,]+/)
    .filter((entry) => entry !== '')
    .map((entry) => exemption(entry.toLowerCase()));
  return (origin) => {
    const host = bareHost(origin.hostname);
    const port = origin.port || (origin.protocol === 'https:' ? '443' : '80');
    return isLoopback(host) || entries.some((matches) => matches(host, port));
  };
}

function exemption(entry: string): Exemption {
  if (entry === '*') return () => true;
  const block = cidr(entry);
  if (block) return (host) => isIP(host) !== 0 && block.check(host, family(host));
  const [, bracketed, plain = entry, port] =
    /^(?:\[([^\]]+)\]|([^:]*))(?::(\d+))?$/.exec(entry) ?? [];
  const name = bareHost(bracketed ?? plain);
  const onPort = (actual: string) => port === undefined || port === actual;
  if (isIP(name)) {
    const one = new BlockList();
    one.addAddress(name, family(name));
    return (host, actual) => onPort(actual) && isIP(host) !== 0 && one.check(host, family(host));
  }
  const suffix = name.startsWith('*.') ? name.slice(1) : name.startsWith('.') ? name : `.${name}`;
  const apex = suffix === name || name.startsWith('*.') ? undefined : name;
  return (host, actual) => onPort(actual) && (host === apex || host.endsWith(suffix));
}

function cidr(entry: string): BlockList | undefined {
  const [address = '', length, rest] = entry.split('/');
  if (length === undefined || rest !== undefined || !isIP(address) || !/^\d+$/.test(length)) {
    return undefined;
  }
  if (Number(length) > (isIP(address) === 4 ? 32 : 128)) return undefined;
  const block = new BlockList();
  block.addSubnet(address, Number(length), family(address));
  return block;
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

function family(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 4 ? 'ipv4' : 'ipv6';
}

/** Without brackets (of an IPv6 address in a URL) and without the dot of the DNS root. */
function bareHost(host: string): string {
  return host.replace(/^\[|\]$/g, '').replace(/\.$/, '');
}
