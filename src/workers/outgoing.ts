import type { Dispatcher } from 'undici';
import { Connections, type TlsIdentity } from '../http/connections.ts';
import { settings } from './settings.ts';

/**
 * Connections to one origin: as many as there can be calls under way (256), and as many lost ones
 * that were made again and have not timed out yet.
 */
const CONNECTIONS = 512;

let connections: Connections | undefined;

/** This thread's connections, which all its tasks share. */
export function outgoing(identity?: TlsIdentity): Dispatcher {
  if (connections === undefined) {
    const { environment: env, connectTimeout } = settings();
    connections = new Connections({ env, connectTimeout, connections: CONNECTIONS });
  }
  return connections.to(identity);
}
