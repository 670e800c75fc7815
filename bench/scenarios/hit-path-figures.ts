import type { HttpLoad } from '../load/http-load.ts';
import type { HitTurn, ServerName } from './hit-path-turn.ts';

/** All turns of a server with one kind of connection. */
export interface HitSeries {
  readonly server: ServerName;
  readonly connection: HttpLoad['connection'];
  /** What made the load. */
  readonly load: 'wrk' | 'autocannon';
  readonly turns: HitTurn[];
}

/** What the figures were measured with. */
export interface HitPathSetting {
  readonly tokenBytes: number;
  readonly bodyBytes: number;
  readonly pinned: boolean;
  /** Why servers have no part in it. */
  readonly missing: readonly string[];
  /** Another agent takes part, which may refuse and fail. */
  readonly peer: boolean;
}
