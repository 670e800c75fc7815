import type { Clock, EpochMs } from '../clock.ts';
import type { Names } from './names.ts';
import type { Sealer } from './seal.ts';
import { readSessionCredentials, type SessionCredentials } from './session-credentials.ts';
import type { KeptCredentials, StoredSession } from './session-store.ts';

/** An entry as Redis holds it: the fields of a hash, all text. */
export interface Entry {
  readonly name: string;
  /** The version of {@link KeptCredentials}. */
  readonly version: string;
  /** When the credentials were fetched. */
  readonly fetchedAt: string;
  /** When they expire. */
  readonly expiresAt: string;
  /** Everything else. */
  readonly sealed: string;
}

/** Characters of `sealed`, and more: session tokens are of 16 KiB at most. */
export const MAX_SEALED = 65_536;

/** The hash's fields for version, fetchedAt, expiresAt and sealed, as {@link entryOf} reads them. */
export const ENTRY_FIELDS = ['g', 't', 'e', 'v'] as const;

/**
 * What was read of {@link ENTRY_FIELDS}.
 *
 * @returns Undefined where there is no entry, or only the mark of one that was revoked.
 */
export function entryOf(name: string, fields: readonly (string | null)[]): Entry | undefined {
  const [version, fetchedAt, expiresAt, sealed] = fields;
  if (!version || !fetchedAt || !expiresAt || !sealed) return undefined;
  return { name, version, fetchedAt, expiresAt, sealed };
}

/**
 * Why an entry is not used: it does not decrypt (altered, moved, or of a key that is not in the
 * file); its credentials have expired; it is not under its session's own name; what it says
 * contradicts itself.
 */
export type Rejection = 'undecryptable' | 'expired' | 'wrong-key-name' | 'inconsistent';

/** What an entry says, or why nothing can be made of it. */
export type Opened =
  | { readonly ok: true; readonly session: StoredSession; readonly kept: KeptCredentials }
  | { readonly ok: false; readonly reason: Rejection };

/** What {@link Entries} is made from. */
export interface EntriesOptions {
  readonly clock: Clock;
  readonly sealer: Sealer;
  /** By the first key, then by the second. */
  readonly names: readonly Names[];
  readonly clusterName: string;
  /** The audience that credentials must be for. */
  readonly audience: string;
}

/** Turns sessions into entries and back. */
export class Entries {
  readonly #options: EntriesOptions;

  constructor(options: EntriesOptions) {
    this.#options = options;
  }

  /** Seals what is kept of a session. */
  seal(session: StoredSession, kept: KeptCredentials): Entry {
    const { sealer, names } = this.#options;
    const { key, scope, namespace, serviceAccount } = session;
    const name = (names[0] as Names).entry(session);
    const outside = {
      name,
      version: String(kept.version),
      fetchedAt: String(kept.fetchedAt),
      expiresAt: String(kept.role.expiresAt),
    };
    const text = JSON.stringify({
      session: { key, scope, namespace, serviceAccount },
      role: kept.role,
    });
    return { ...outside, sealed: sealer.seal(text, this.#context(outside)) };
  }

  /** Opens an entry, whatever was found in Redis. */
  open(entry: Entry): Opened {
    const { clock, sealer, names } = this.#options;
    if (!(Number(entry.expiresAt) > clock.now())) return { ok: false, reason: 'expired' };
    const text = sealer.open(entry.sealed, this.#context(entry));
    if (text === undefined) return { ok: false, reason: 'undecryptable' };
    const sealed = parse(text);
    if (sealed === undefined) return { ok: false, reason: 'inconsistent' };
    const { session, role } = sealed;
    // The name was sealed with the rest; that it is this session's has to be seen to as well.
    if (!names.some((one) => one.entry(session) === entry.name)) {
      return { ok: false, reason: 'wrong-key-name' };
    }
    const fetchedAt: EpochMs = Number(entry.fetchedAt);
    const version = Number(entry.version);
    const consistent =
      role.expiresAt === Number(entry.expiresAt) &&
      role.audience === this.#options.audience &&
      role.subject.namespace === session.namespace &&
      role.subject.serviceAccount === session.serviceAccount &&
      Number.isFinite(fetchedAt) &&
      Number.isSafeInteger(version);
    if (!consistent) return { ok: false, reason: 'inconsistent' };
    return { ok: true, session, kept: { role, fetchedAt, version } };
  }

  #context({ name, version, fetchedAt, expiresAt }: Omit<Entry, 'sealed'>): readonly unknown[] {
    return ['entry', this.#options.clusterName, name, version, fetchedAt, expiresAt];
  }
}

/** Whoever could seal it has the key, but may be a broker of another version. */
function parse(text: string): SessionCredentials | undefined {
  try {
    return readSessionCredentials(JSON.parse(text));
  } catch {
    return undefined;
  }
}
