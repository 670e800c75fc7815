import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import type { DurationMs } from '../../src/clock.ts';
import type { RemoteSimulator } from '../../src/simulator/control-client.ts';
import type { Served } from './answer-check.ts';
import type { Findings } from './findings.ts';
import type { Gate } from './gate.ts';

/** Credentials that are about to expire when their turn comes are not tried. */
const MIN_TIME_LEFT: DurationMs = 5_000;

/** What {@link CredentialCheck} is made from. */
export interface CredentialCheckOptions {
  readonly simulator: RemoteSimulator;
  readonly gate: Gate;
  readonly findings: Findings;
  readonly clockOffset: DurationMs;
}

/** Uses credentials as a pod would: STS has to say that they are the role's. */
export class CredentialCheck {
  readonly #options: CredentialCheckOptions;
  readonly #underWay = new Set<Promise<void>>();
  checked = 0;

  constructor(options: CredentialCheckOptions) {
    this.#options = options;
  }

  /** Begins to check. */
  check(served: Served): void {
    const work = this.#options.gate
      .pass(() => this.#check(served))
      .finally(() => this.#underWay.delete(work));
    this.#underWay.add(work);
  }

  /** Resolves when all checks have ended. */
  async done(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  async #check(served: Served): Promise<void> {
    const { simulator, findings, clockOffset } = this.#options;
    const left = Date.parse(served.Expiration) - Date.now() - clockOffset;
    if (left < MIN_TIME_LEFT) return;
    const client = new STSClient({
      endpoint: simulator.url,
      region: simulator.region,
      systemClockOffset: clockOffset,
      credentials: {
        accessKeyId: served.AccessKeyId,
        secretAccessKey: served.SecretAccessKey,
        sessionToken: served.Token,
      },
    });
    try {
      const { Arn } = await client.send(new GetCallerIdentityCommand());
      if (Arn !== served.assumedRoleArn) {
        findings.add('wrong answer: the credentials are of another role', {
          expected: served.assumedRoleArn,
          arn: Arn,
        });
      }
      this.checked += 1;
    } catch (error) {
      findings.add('wrong answer: the credentials do not work', {
        accessKeyId: served.AccessKeyId,
        reason: String(error),
      });
    } finally {
      client.destroy();
    }
  }
}
