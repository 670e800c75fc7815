import { readSessionCredentials } from '../session-store/session-credentials.ts';
import type { HandedSession } from './hand-over.ts';

const SCOPES: readonly string[] = ['service-account', 'pod', 'token'];

/**
 * Reads the sessions that a broker hands over. One that cannot be read, or whose credentials are
 * another service account's, is left out: it costs a call to EKS Auth, not the hand-over.
 *
 * @param value - As it came over.
 */
export function readHandedSessions(value: unknown): HandedSession[] {
  return (Array.isArray(value) ? value : []).flatMap((one) => readHandedSession(one) ?? []);
}

function readHandedSession(value: unknown): HandedSession | undefined {
  const { session, kept } = (value ?? {}) as Partial<HandedSession>;
  const read = readSessionCredentials({ session, role: kept?.role });
  if (read === undefined || kept === undefined) return undefined;
  const { subject } = read.role;
  const { fetchedAt, version } = kept;
  const consistent =
    SCOPES.includes(read.session.scope) &&
    subject.namespace === read.session.namespace &&
    subject.serviceAccount === read.session.serviceAccount &&
    Number.isFinite(fetchedAt) &&
    (version === undefined || Number.isSafeInteger(version));
  return consistent
    ? {
        session: read.session,
        kept: { role: read.role, fetchedAt, ...(version !== undefined && { version }) },
      }
    : undefined;
}
