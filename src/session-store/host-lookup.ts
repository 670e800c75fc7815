import { lookup as systemLookup } from 'node:dns';
import type { LookupFunction } from 'node:net';

/**
 * Looks the names of servers up one after another, each once however many connections wait for
 * it.
 *
 * The system's look-up (getaddrinfo) holds a thread of libuv's for as long as a name server does
 * not answer, which can be half a minute, and only two of these may be busy with look-ups. With
 * one in use for Redis, the other is there for EKS Auth: a Redis whose name cannot be looked up
 * costs it nothing.
 *
 * @param lookup - The system's; its results are passed on as they are, so that /etc/hosts, search
 *   domains and several addresses work as everywhere.
 */
export function oneLookupAtATime(lookup: LookupFunction = systemLookup): LookupFunction {
  const waiting = new Map<string, Parameters<LookupFunction>[2][]>();
  const queue: (() => void)[] = [];
  let busy = false;
  const next = () => {
    const start = queue.shift();
    busy = start !== undefined;
    start?.();
  };
  return (hostname, options, callback) => {
    const question = JSON.stringify([hostname, options]);
    const others = waiting.get(question);
    if (others !== undefined) {
      others.push(callback);
      return;
    }
    waiting.set(question, [callback]);
    queue.push(() =>
      lookup(hostname, options, (...answer) => {
        const callbacks = waiting.get(question) ?? [];
        waiting.delete(question);
        next();
        for (const each of callbacks) each(...answer);
      }),
    );
    if (!busy) next();
  };
}
