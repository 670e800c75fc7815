import { readFileSync } from 'node:fs';

/**
 * File descriptors that the broker leaves to itself: calls to EKS Auth (64 a thread), Redis, the API
 * server, the ports of probes and metrics (64 connections each), files and what Node.js has open.
 */
const RESERVED = 512;

/**
 * How many files this process may have open, connections included (getrlimit(2), RLIMIT_NOFILE);
 * infinity where that is not told. Node.js raises it to the hard limit when it starts.
 *
 * @param limits - proc_pid_limits(5); default is this process's.
 */
export function maxOpenFiles(limits: string = ownLimits()): number {
  const [, soft] = /^Max open files\s+(\d+)/m.exec(limits) ?? [];
  return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft);
}

/**
 * How many connections of pods fit into the limit of open files. Where pods can take them all, the
 * kernel's connections are closed unheard, and the broker cannot call EKS Auth either.
 */
export function connectionsWithin(maxFiles: number): number {
  return Math.max(maxFiles - RESERVED, Math.floor(maxFiles / 2));
}

function ownLimits(): string {
  try {
    return readFileSync('/proc/self/limits', 'latin1');
  } catch {
    // Not Linux, or /proc is not mounted.
    return '';
  }
}
