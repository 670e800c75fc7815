import type { Dispatcher } from 'undici';
import { Connections, type TlsIdentity } from '../http/connections.ts';
import { settings } from './settings.ts';

/**
 * Connections per origin: one for each call that may be in progress (256), and as many for calls
 * that were overtaken and have not timed out yet.
 */
const CONNECTIONS = 512;

let connections: Connections | undefined;

/** The connections of this thread, shared by all its tasks. */
export function outgoing(identity?: TlsIdentity): Dispatcher {
  if (connections === undefined) {
    const { environment: env, caBundle: ca, connectTimeout } = settings();
    connections = new Connections({ env, ca, connectTimeout, connections: CONNECTIONS });
  }
  return connections.to(identity);
}
