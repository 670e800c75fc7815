/** One server of Redis. */
export interface RedisServer {
  /** A name or an address, IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
}

/** Where Redis is, as `--redis-url` says. */
export interface RedisTarget {
  /** One server; sentinels that know which one is the primary; or nodes of a Redis Cluster. */
  readonly kind: 'server' | 'sentinel' | 'cluster';
  readonly tls: boolean;
  readonly servers: readonly [RedisServer, ...RedisServer[]];
  /** The name under which sentinels know the primary; otherwise empty. */
  readonly primary: string;
  /** Number of the database; a Redis Cluster has only 0. */
  readonly database: number;
}

const SERVER_PORT = 6379;
const SENTINEL_PORT = 26_379;

const FORM = 'redis[s]://HOST[:PORT][/DB]';
const URL_FORM =
  /^(?<scheme>rediss?(?:\+sentinel|\+cluster)?):\/\/(?<servers>[^/?#\s]+)(?:\/(?<path>[^?#\s]*))?$/;
const SERVER_FORM =
  /^(?:\[(?<v6>[0-9A-Fa-f:.]+)\]|(?<name>[A-Za-z0-9._-]+))(?::(?<port>\d{1,5}))?$/;

/**
 * Reads where Redis is: `redis://HOST[:PORT][/DB]`, `redis+sentinel://HOST[:PORT],…/PRIMARY[/DB]`
 * or `redis+cluster://HOST[:PORT],…`; with `rediss` for TLS.
 *
 * @throws TypeError that says what is wrong, and never quotes what may be a password.
 */
export function redisTarget(text: string): RedisTarget {
  if (text.includes('@')) {
    throw new TypeError(
      'must hold no user name or password: they go into --redis-username and --redis-password-file',
    );
  }
  const { scheme = '', servers = '', path = '' } = URL_FORM.exec(text)?.groups ?? {};
  if (scheme === '') throw new TypeError(`must be of the form ${FORM}, without a query`);
  const [protocol, form = 'server'] = scheme.split('+') as [string, RedisTarget['kind']?];
  const usualPort = form === 'sentinel' ? SENTINEL_PORT : SERVER_PORT;
  const [first, ...others] = servers.split(',').map((one) => server(one, usualPort));
  if (first === undefined || (form === 'server' && others.length > 0)) {
    throw new TypeError('must name one server; several go with redis+sentinel or redis+cluster');
  }
  const parts = path.split('/');
  const primary = form === 'sentinel' ? (parts.shift() ?? '') : '';
  if (form === 'sentinel' && !/^[A-Za-z0-9._-]+$/.test(primary)) {
    throw new TypeError('must end with the name of the primary: redis+sentinel://HOST,…/NAME');
  }
  const database = parts.join('/');
  if (database !== '' && (form === 'cluster' || !/^\d{1,5}$/.test(database))) {
    throw new TypeError(
      form === 'cluster'
        ? 'must have no path: a Redis Cluster has one database'
        : `must be of the form ${FORM}`,
    );
  }
  return {
    kind: form,
    tls: protocol === 'rediss',
    servers: [first, ...others],
    primary,
    database: Number(database),
  };
}

function server(text: string, usualPort: number): RedisServer {
  const groups = SERVER_FORM.exec(text)?.groups;
  const port = Number(groups?.port ?? usualPort);
  if (groups === undefined || port < 1 || port > 65_535) {
    throw new TypeError(`must name servers as HOST or HOST:PORT, not ${JSON.stringify(text)}`);
  }
  return { host: (groups.v6 ?? groups.name) as string, port };
}
