import { createHash } from 'node:crypto';
import type { Dispatcher } from 'undici';
import { createDispatcher } from '../eks-auth/dispatcher.ts';
import { settings } from './settings.ts';

/** Connections to one origin: as many as there can be calls under way. */
const CONNECTIONS = 256;

/** Whom a destination is trusted by, and how this side shows who it is. */
export interface TlsIdentity {
  /** CA certificates (PEM) instead of the usual ones. */
  readonly ca?: string;
  /** Certificate and key (PEM) to present. */
  readonly clientCertificate?: { readonly cert: string; readonly key: string };
}

let usual: Dispatcher | undefined;
let own: { readonly digest: string; readonly dispatcher: Dispatcher } | undefined;

/**
 * This thread's connections, kept alive between calls: one set for all that trusts the usual
 * CAs, and one for the API server's own CA, which is replaced when that CA changes.
 */
export function outgoing(identity: TlsIdentity = {}): Dispatcher {
  const { ca, clientCertificate } = identity;
  if (ca === undefined && clientCertificate === undefined) {
    usual ??= connect({});
    return usual;
  }
  const digest = createHash('sha256')
    .update(JSON.stringify([ca, clientCertificate]))
    .digest('hex');
  if (own?.digest !== digest) {
    void own?.dispatcher.close();
    own = { digest, dispatcher: connect({ ca, clientCertificate }) };
  }
  return own.dispatcher;
}

function connect(identity: { [Name in keyof TlsIdentity]: TlsIdentity[Name] | undefined }) {
  const { environment, connectTimeout } = settings();
  return createDispatcher({
    env: environment,
    connectTimeout,
    connections: CONNECTIONS,
    ...identity,
  });
}
