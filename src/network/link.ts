import { readFile } from 'node:fs/promises';
import type { Log } from '../telemetry/log.ts';
import { IpError, ip, ipList } from './ip-command.ts';

/** The interface of the two addresses, under the name that the existing agent gives it. */
export const LINK = 'pod-id-link0';

/** Kinds of interface that hold addresses and lead nowhere: the first where the kernel has it. */
const KINDS = ['dummy', 'bridge'];

/** A network that is not as it was left, in a way that only the operator can decide about. */
export class NetworkError extends Error {
  override readonly name = 'NetworkError';
  readonly code = 'ERR_NETWORK';
}

/** The interface can have no IPv6 address. */
class Ipv6OffError extends Error {
  override readonly name = 'Ipv6OffError';
  readonly code = 'ERR_IPV6_OFF';
}

/** An interface, as far as it is looked at here (`ip -details link`, `ip address`). */
interface Link {
  readonly flags: readonly string[];
  readonly linkinfo?: { readonly info_kind?: string };
  readonly addr_info?: readonly Address[];
}

/** An address of an interface. The flags of IPv6 are there only when they are set. */
interface Address {
  readonly local?: string;
  readonly prefixlen?: number;
  readonly tentative?: boolean;
  readonly dadfailed?: boolean;
}

/** A route; `dev` is missing where there are several ways. */
interface Route {
  readonly dev?: string;
  readonly type?: string;
}

/**
 * Makes the interface with its addresses, brings it up and routes the addresses to it, as far
 * as this is not so already. What is there is read first and only what is missing is added, so
 * that it is safe to run again, after a run that broke off, and on a link that the existing
 * agent has left.
 *
 * @param addresses - IP addresses. IPv4 is required; what goes wrong with IPv6 is logged, since
 *   many nodes have it switched off.
 * @throws NetworkError when the name belongs to another kind of interface, or an address is
 *   routed to another one; IpError when the kernel refuses.
 */
export async function setUpLink(addresses: readonly string[], log: Log): Promise<void> {
  await ensureLink(log);
  const available: string[] = [];
  for (const address of addresses) {
    if (await tolerating(address, log, () => ensureAddress(address, log))) available.push(address);
  }
  await ensureUp(log);
  for (const address of available) {
    await tolerating(address, log, () => ensureRoute(address, log));
  }
}

/**
 * Takes the interface away, and with it its addresses and routes.
 *
 * @returns Whether there was one.
 * @throws NetworkError when the name belongs to another kind of interface.
 */
export async function removeLink(log: Log): Promise<boolean> {
  if ((await readLink()) === undefined) return false;
  await ip(['link', 'delete', 'dev', LINK]);
  log.info({ link: LINK }, 'link removed');
  return true;
}

/** Carries out a step for one address. @returns Whether it was possible. */
async function tolerating(address: string, log: Log, step: () => Promise<void>): Promise<boolean> {
  try {
    await step();
    return true;
  } catch (error) {
    if (!isIpv6(address)) throw error;
    const reason = (error as Error).message;
    // Many nodes have it switched off on purpose; everything else is somebody's mistake.
    if (error instanceof Ipv6OffError) log.warn({ address, reason }, 'going on without IPv6');
    else log.error({ address, reason }, 'going on without IPv6');
    return false;
  }
}

async function ensureLink(log: Log): Promise<void> {
  if ((await readLink()) !== undefined) return;
  let refusal: unknown;
  for (const kind of KINDS) {
    try {
      await ip(['link', 'add', 'name', LINK, 'type', kind]);
      log.info({ link: LINK, kind }, 'link added');
      return;
    } catch (error) {
      // Another run was quicker.
      if ((await readLink()) !== undefined) return;
      if (!(error instanceof IpError && isUnknownKind(error))) throw error;
      refusal = error;
    }
  }
  throw refusal;
}

/** Whether the kernel has no driver for this kind of interface. */
function isUnknownKind({ reason }: IpError): boolean {
  return /unknown device type|operation not supported/i.test(reason);
}

/** The interface, where there is one. @throws NetworkError when it is of no kind of ours. */
async function readLink(): Promise<Link | undefined> {
  try {
    const [link] = await ipList<Link>(['-details', 'address', 'show', 'dev', LINK]);
    const kind = link?.linkinfo?.info_kind ?? 'physical';
    if (link === undefined || KINDS.includes(kind)) return link;
    throw new NetworkError(
      `${LINK} is there, as a ${kind} interface, which neither this program nor the existing ` +
        `agent makes; remove or rename it`,
    );
  } catch (error) {
    if (error instanceof IpError && error.reason.includes('does not exist')) return undefined;
    throw error;
  }
}

async function ensureAddress(address: string, log: Log): Promise<void> {
  if (isIpv6(address) && !(await hasIpv6())) {
    throw new Ipv6OffError('IPv6 is switched off on this node');
  }
  const link = await readLink();
  const found = link?.addr_info?.find(({ local }) => local === address);
  const length = isIpv6(address) ? 128 : 32;
  const usable = found?.prefixlen === length && !found.tentative && !found.dadfailed;
  if (usable) {
    log.debug({ address }, 'address is there');
    return;
  }
  // A shorter prefix takes more addresses to the interface than these: that of the instance
  // metadata service, for one. And one that waits for duplicate address detection waits for ever
  // on an interface that leads nowhere: nobody can listen on it until it is added anew, without
  // that.
  if (found !== undefined) {
    await ip(['address', 'delete', `${address}/${found.prefixlen}`, 'dev', LINK]);
  }
  const nodad = isIpv6(address) ? ['nodad'] : [];
  await ip(['address', 'replace', `${address}/${length}`, 'dev', LINK, ...nodad]);
  log.info({ address, link: LINK }, 'address added');
}

/** Whether addresses of IPv6 can be given to the interface. */
async function hasIpv6(): Promise<boolean> {
  const setting = `/proc/sys/net/ipv6/conf/${LINK}/disable_ipv6`;
  return (await readFile(setting, 'utf8').catch(() => '1')).trim() === '0';
}

async function ensureUp(log: Log): Promise<void> {
  const link = await readLink();
  if (link?.flags.includes('UP')) return;
  await ip(['link', 'set', 'dev', LINK, 'up']);
  log.info({ link: LINK }, 'link is up');
}

/**
 * Routes an address to the interface in the main table. What the node itself serves is found
 * without it (table `local` comes first); programs that read the main table find it too.
 */
async function ensureRoute(address: string, log: Log): Promise<void> {
  const routes = await readRoutes(address);
  const other = routes.find(({ dev }) => dev !== LINK);
  if (other !== undefined) {
    const target = other.dev ?? other.type ?? 'several interfaces';
    throw new NetworkError(
      `${address} is routed to ${target}, not to ${LINK}: whose route that is has to be found ` +
        `out, and the route to be removed`,
    );
  }
  if (routes.length > 0) {
    log.debug({ address }, 'route is there');
    return;
  }
  try {
    await ip([...family(address), 'route', 'add', address, 'dev', LINK]);
  } catch (error) {
    // Another run was quicker.
    if ((await readRoutes(address)).some(({ dev }) => dev === LINK)) return;
    throw error;
  }
  log.info({ address, link: LINK }, 'route added');
}

function readRoutes(address: string): Promise<Route[]> {
  return ipList<Route>([...family(address), 'route', 'show', 'table', 'main', 'exact', address]);
}

function family(address: string): string[] {
  return [isIpv6(address) ? '-6' : '-4'];
}

function isIpv6(address: string): boolean {
  return address.includes(':');
}
