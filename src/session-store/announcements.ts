import type { Sealer } from './seal.ts';
import type { FlushChoice, RevokedBy } from './session-store.ts';

/** What brokers tell each other. */
export type Announcement =
  /** An entry was kept; `roleChanged`: of another role than the one before. */
  | {
      readonly kind: 'kept';
      readonly entry: string;
      readonly fetchedAt: number;
      readonly roleChanged: boolean;
    }
  /** A fetch has ended without credentials. */
  | { readonly kind: 'released'; readonly entry: string }
  /** Sessions were flushed. */
  | { readonly kind: 'flushed'; readonly choice: FlushChoice; readonly version: number }
  /** EKS Auth does not renew a session that was fetched by then. */
  | {
      readonly kind: 'revoked';
      readonly key: string;
      readonly fetchedAt: number;
      readonly by: RevokedBy;
    };

const CONTEXT = ['announcement'];
/** Longer than any announcement. */
const MAX_CHARACTERS = 8_192;

/**
 * Writes announcements. Those that end sessions, or name them, are sealed: who can write to
 * Redis can repeat them, which ends nothing that is newer than they are, but make none.
 */
export class AnnouncementForm {
  readonly #sealer: Sealer;
  readonly #context: readonly unknown[];

  constructor(sealer: Sealer, clusterName: string) {
    this.#sealer = sealer;
    this.#context = [...CONTEXT, clusterName];
  }

  write(announcement: Announcement): string {
    if (announcement.kind === 'kept') {
      const { entry, fetchedAt, roleChanged } = announcement;
      return `${roleChanged ? 'changed' : 'kept'} ${entry} ${fetchedAt}`;
    }
    if (announcement.kind === 'released') return `released ${announcement.entry}`;
    return `sealed ${this.#sealer.seal(JSON.stringify(announcement), this.#context)}`;
  }

  /** @returns Undefined for what no broker of this cluster has written. */
  read(text: string): Announcement | undefined {
    if (text.length > MAX_CHARACTERS) return undefined;
    const [kind, rest = '', fetchedAt] = text.split(' ');
    switch (kind) {
      case 'kept':
      case 'changed':
        return {
          kind: 'kept',
          entry: rest,
          fetchedAt: Number(fetchedAt),
          roleChanged: kind === 'changed',
        };
      case 'released':
        return { kind: 'released', entry: rest };
      case 'sealed': {
        const opened = this.#sealer.open(rest, this.#context);
        return opened === undefined ? undefined : parse(opened);
      }
      default:
        return undefined;
    }
  }
}

/** Whoever could seal it has the key, but may be a broker of another version. */
function parse(text: string): Announcement | undefined {
  try {
    const said = JSON.parse(text) as Record<string, unknown> | null;
    const formed =
      said?.kind === 'flushed'
        ? typeof said.choice === 'object' && said.choice !== null && isNumber(said.version)
        : said?.kind === 'revoked' && typeof said.key === 'string' && isNumber(said.fetchedAt);
    return formed ? (said as unknown as Announcement) : undefined;
  } catch {
    return undefined;
  }
}

function isNumber(value: unknown): boolean {
  return typeof value === 'number' && Number.isFinite(value);
}
