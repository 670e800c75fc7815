import type { Clock, EpochMs } from '../clock.ts';
import type { Names } from './names.ts';
import type { Sealer } from './seal.ts';
import type { KeptCredentials, StoredSession } from './session-store.ts';

/** An entry as Redis holds it: the fields of a hash, all text. */
export interface Entry {
  readonly name: string;
  /** The version of {@link KeptCredentials}. */
  readonly g: string;
  /** When the credentials were fetched. */
  readonly t: string;
  /** When they expire. */
  readonly e: string;
  /** Everything else, sealed. */
  readonly v: string;
}

/** The fields of an entry, in the order in which they are asked for. */
export const ENTRY_FIELDS = ['g', 't', 'e', 'v'] as const;

/** Why an entry is not used. */
export type Rejection = 'sealed-otherwise' | 'expired' | 'misplaced' | 'unfit';

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
      g: String(kept.version),
      t: String(kept.fetchedAt),
      e: String(kept.role.expiresAt),
    };
    const text = JSON.stringify({
      session: { key, scope, namespace, serviceAccount },
      role: kept.role,
    });
    return { ...outside, v: sealer.seal(text, this.#context(outside)) };
  }

  /** Opens an entry, whatever was found in Redis. */
  open(entry: Entry): Opened {
    const { clock, sealer, names } = this.#options;
    if (!(Number(entry.e) > clock.now())) return { ok: false, reason: 'expired' };
    const text = sealer.open(entry.v, this.#context(entry));
    if (text === undefined) return { ok: false, reason: 'sealed-otherwise' };
    // Whoever could seal it is a broker of this cluster, so that it has this form.
    const { session, role } = JSON.parse(text) as Pick<KeptCredentials, 'role'> & {
      readonly session: StoredSession;
    };
    // The name was sealed with the rest; that it is this session's has to be seen to as well.
    if (!names.some((one) => one.entry(session) === entry.name)) {
      return { ok: false, reason: 'misplaced' };
    }
    const fits =
      role.expiresAt === Number(entry.e) &&
      role.audience === this.#options.audience &&
      role.subject.namespace === session.namespace &&
      role.subject.serviceAccount === session.serviceAccount;
    if (!fits) return { ok: false, reason: 'unfit' };
    return {
      ok: true,
      session,
      kept: { role, fetchedAt: Number(entry.t) as EpochMs, version: Number(entry.g) },
    };
  }

  #context({ name, g, t, e }: Omit<Entry, 'v'>): readonly unknown[] {
    return ['entry', this.#options.clusterName, name, g, t, e];
  }
}
