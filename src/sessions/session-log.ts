import type { DurationMs } from '../clock.ts';
import type { Log } from '../telemetry/log.ts';
import type { RepeatedFaults } from '../telemetry/repeated-faults.ts';
import type { FlightResult } from './flight.ts';
import type { Session } from './session.ts';

/** Logs one line per fetch and per renewal; repeated failures are summed up. */
export class SessionLog {
  readonly #log: Log;
  readonly #faults: RepeatedFaults;

  constructor(log: Log, faults: RepeatedFaults) {
    this.#log = log;
    this.#faults = faults;
  }

  /** Logs how a fetch has ended, after `duration`. */
  fetchEnded(session: Session, renewal: boolean, result: FlightResult, duration: DurationMs): void {
    const { namespace, serviceAccount, scope } = session;
    const about = { namespace, serviceAccount, scope, durationMs: Math.round(duration) };
    if (result.ok) {
      const { role } = result;
      this.#log.info(
        {
          ...about,
          assumedRole: role.assumedRoleArn,
          expiresAt: new Date(role.expiresAt).toISOString(),
          requestId: role.requestId,
        },
        result.fromStore
          ? 'session found in the store'
          : renewal
            ? 'session renewed'
            : 'session fetched',
      );
      return;
    }
    const { kind, code, message: reason, requestId } = result.failure;
    const fields = { ...about, kind, code, reason, requestId };
    if (kind === 'refused' || kind === 'token') {
      // A refusal is about the pods of one service account.
      this.#faults.report(`refused ${namespace}/${serviceAccount} ${code}`, {
        level: 'info',
        fields,
        message: renewal ? 'EKS Auth refuses to renew a session' : 'EKS Auth refuses a session',
      });
      return;
    }
    // Other failures concern all sessions alike.
    this.#faults.report(`failed ${renewal} ${kind} ${code}`, {
      level: 'warn',
      fields,
      message: renewal ? 'session cannot be renewed now' : 'session cannot be fetched now',
    });
  }
}
