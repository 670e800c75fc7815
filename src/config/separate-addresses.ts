import { isIP } from 'node:net';
import type { Command } from 'commander';

/** The flags that name what the broker listens on. */
interface ListeningFlags {
  readonly bindHosts: readonly string[];
  readonly port: number;
  readonly probePort: number;
  readonly metricsAddress: string;
  readonly metricsPort: number;
}

/**
 * Refuses flags by which the broker would be in its own way: whichever socket comes second would
 * wait for the first to give its port free. They end the program.
 */
export function requireSeparateAddresses(command: Command, flags: ListeningFlags): void {
  requireSeparateHosts(command, flags);
  requireDistinctAddresses(command, flags);
}

/** Refuses addresses for pods of which one takes in the other: both are of one port. */
function requireSeparateHosts(command: Command, { bindHosts }: ListeningFlags): void {
  const hosts = [...new Set(bindHosts)];
  for (const [index, host] of hosts.entries()) {
    // Beside IPv4 addresses `::` is for IPv6 alone: see `listening.ts`.
    const taken = hosts
      .slice(0, index)
      .find((other) => isIP(host) + isIP(other) !== 4 + 6 && overlap(host, other));
    if (taken === undefined) continue;
    command.error(`error: ${nameOf(command, '--bind-hosts')}: ${taken} and ${host} overlap`);
  }
}

/** Refuses addresses that are the same. */
function requireDistinctAddresses(command: Command, flags: ListeningFlags): void {
  const sockets = [
    { flag: '--port', port: flags.port, hosts: flags.bindHosts },
    { flag: '--probe-port', port: flags.probePort, hosts: ['127.0.0.1', '::1'] },
    { flag: '--metrics-port', port: flags.metricsPort, hosts: [flags.metricsAddress] },
  ];
  for (const [index, socket] of sockets.entries()) {
    for (const other of sockets.slice(0, index)) {
      if (socket.port !== other.port) continue;
      if (!socket.hosts.some((host) => other.hosts.some((taken) => overlap(host, taken)))) continue;
      const names = `${nameOf(command, socket.flag)} and ${nameOf(command, other.flag)}`;
      command.error(`error: ${names} are both ${socket.port}, on the same address`);
    }
  }
}

/** Whether one port cannot be had on both addresses. */
function overlap(host: string, other: string): boolean {
  const pair = [host, other];
  if (host === other || pair.includes('::')) return true;
  if (pair.includes('localhost')) {
    return pair.some((one) => ['127.0.0.1', '::1', '0.0.0.0'].includes(one));
  }
  return pair.includes('0.0.0.0') && pair.every((one) => !one.includes(':'));
}

/** A flag, with its variable where the value came from there. */
function nameOf(command: Command, flag: string): string {
  const made = command.options.find(({ long }) => long === flag);
  const fromVariable =
    made !== undefined && command.getOptionValueSource(made.attributeName()) === 'env';
  return fromVariable ? `${flag} (from env '${made.envVar}')` : flag;
}
