import type { RoleCredentials } from '../eks-auth/assume-role.ts';
import type { StoredSession } from './session-store.ts';

/** A session and its credentials, as one broker writes them for another. */
export interface SessionCredentials {
  readonly session: StoredSession;
  readonly role: RoleCredentials;
}

const SESSION_TEXTS = ['key', 'scope', 'namespace', 'serviceAccount'] as const;
const ROLE_TEXTS = [
  'accessKeyId',
  'secretAccessKey',
  'sessionToken',
  'audience',
  'associationArn',
  'associationId',
  'assumedRoleArn',
  'assumedRoleId',
  'requestId',
] as const;

/**
 * Reads what another broker has written, which may be of another version.
 *
 * @param value - As it was parsed.
 * @returns Undefined where something is missing, or of another type.
 */
export function readSessionCredentials(value: unknown): SessionCredentials | undefined {
  const read = value as Partial<SessionCredentials> | null | undefined;
  const texts = (object: object | undefined, names: readonly string[]) =>
    names.every((name) => typeof (object as Record<string, unknown>)?.[name] === 'string');
  return texts(read?.session, SESSION_TEXTS) &&
    texts(read?.role, ROLE_TEXTS) &&
    texts(read?.role?.subject, ['namespace', 'serviceAccount']) &&
    typeof read?.role?.expiresAt === 'number'
    ? (read as SessionCredentials)
    : undefined;
}
