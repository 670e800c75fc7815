import type { FlushChoice, SessionHolder } from '../session-store/session-store.ts';
import type { RoleSessions } from './role-sessions.ts';
import type { Session } from './session.ts';

/** Whether a flush applies to a session. */
export function isChosen(
  { namespace, serviceAccount }: FlushChoice,
  session: Pick<Session, 'namespace' | 'serviceAccount'>,
): boolean {
  return (
    (namespace === undefined || session.namespace === namespace) &&
    (serviceAccount === undefined || session.serviceAccount === serviceAccount)
  );
}

/** The sessions in memory, as the session store sees them. */
export function sessionHolder(sessions: RoleSessions): SessionHolder {
  return {
    restore: (session, kept) => sessions.restore(session, kept),
    renew: (key, fetchedAt) => sessions.renewFetchedBy(key, fetchedAt),
    end: (key, fetchedAt) => sessions.endFetchedBy(key, fetchedAt),
    *held() {
      for (const session of sessions.all()) {
        const kept = session.credentials?.kept;
        if (kept !== undefined) yield { session, kept, proven: session.proven };
      }
    },
    find(key) {
      const session = sessions.find(key);
      if (session?.credentials === undefined) return undefined;
      return { fetchedAt: session.credentials.fetchedAt, inUse: session.usedSinceFetch };
    },
    flushBefore(choice, version) {
      sessions.flush((session) => oldestVersion(session) < version && isChosen(choice, session));
    },
  };
}

/** The lowest version of what a session holds and what is fetched for it. */
function oldestVersion({ credentials, fetch, fetchVersion = 0 }: Session): number {
  if (credentials === undefined) return fetchVersion;
  const { version = 0 } = credentials.kept ?? {};
  return fetch === undefined ? version : Math.min(version, fetchVersion);
}
