import type { RoleCredentials } from '../eks-auth/assume-role.ts';
import type { KeptCredentials } from '../session-store/session-store.ts';
import type { FetchTrace } from '../telemetry/tracing.ts';
import type { Turn } from './call-queue.ts';
import type { FetchFailure } from './failure.ts';
import type { LiveToken } from './recent-tokens.ts';

/** How a fetch ended. `live` is the token that the answer is about. */
export type FlightResult =
  | {
      readonly ok: true;
      readonly role: RoleCredentials;
      readonly live: LiveToken;
      /** The credentials as a store keeps them. */
      readonly kept?: KeptCredentials | undefined;
      /** Whether they came from the store, without a call. */
      readonly fromStore?: boolean;
    }
  | { readonly ok: false; readonly failure: FetchFailure; readonly live: LiveToken | undefined };

/** A fetch of a session in progress; all requests for the session wait for it. */
export class Flight {
  /** Whether it renews credentials that the session still holds. */
  readonly renewal: boolean;
  /** Its span, if traces are collected. */
  readonly trace: FetchTrace | undefined;
  /** How it ends; never rejects. */
  readonly result: Promise<FlightResult>;
  /** Why the latest attempt failed. */
  lastFailure: FetchFailure | undefined;
  /** Its rank in the queue, if the latest attempt ended for want of a turn. */
  place: number | undefined;
  /** Its turn in the queue, for the attempts to come. */
  turn: Turn;
  /** Whether a request waits for it. */
  hasWaiters: boolean;
  readonly #obstacle: () => FetchFailure | undefined;

  /**
   * @param obstacle - What calls wait for before they reach EKS Auth.
   * @param fly - Makes the fetch. It is called before the constructor returns, and must not reject.
   */
  constructor(
    turn: Turn,
    {
      renewal,
      trace,
      obstacle,
    }: Pick<Flight, 'renewal' | 'trace'> & { readonly obstacle: () => FetchFailure | undefined },
    fly: (flight: Flight) => Promise<FlightResult>,
  ) {
    this.turn = turn;
    this.renewal = renewal;
    this.hasWaiters = !renewal;
    this.trace = trace;
    this.#obstacle = obstacle;
    this.result = fly(this);
  }

  /** Why there is no result yet, for requests that do not wait for it any longer. */
  get reason(): FetchFailure | undefined {
    return this.lastFailure ?? this.#obstacle();
  }
}
