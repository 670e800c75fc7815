import type { DurationMs } from '../clock.ts';
import type { Associations } from './associations.ts';
import type { AuditLog } from './audit.ts';
import type { Counts } from './counters.ts';
import type { Credentials } from './credential-authority.ts';
import type { Faults } from './faults.ts';
import type { IssuerKeys } from './issuer-keys.ts';
import type { Kubelet } from './kubelet.ts';
import type { NodeRole } from './node-role.ts';
import type { Roles } from './roles.ts';
import type { Settings, SettingsChange } from './settings.ts';

/** The settings of the simulated services, which can change while they run. */
export interface EKSAuthControl {
  /** As they are now. */
  readonly settings: Readonly<Settings>;
  /**
   * Changes some; those left out stay.
   *
   * @throws TypeError that names the setting.
   */
  set(change: SettingsChange): void;
}

/** A running local EKS. */
export interface Simulator {
  /** `http://host:port`: the endpoint of EKS, EKS Auth and STS. */
  readonly url: string;
  /** The `iss` of tokens. */
  readonly issuer: string;
  readonly region: string;
  readonly account: string;
  readonly clusterName: string;
  readonly clusterArn: string;
  /** What the node signs its calls with; the latest of {@link node}. */
  readonly nodeCredentials: Credentials;
  readonly node: NodeRole;
  readonly kubelet: Kubelet;
  readonly issuerKeys: IssuerKeys;
  readonly roles: Roles;
  readonly associations: Associations;
  readonly eksAuth: EKSAuthControl;
  readonly faults: Faults;
  readonly audit: AuditLog;
  counts(): Counts;
  resetCounts(): void;
  /**
   * Refuses connections to every service, and drops those that there are, for `duration`
   * milliseconds; the port stays the same.
   *
   * @returns When connections are refused.
   */
  outage(duration: DurationMs): Promise<void>;
  /** Resolves when the latest {@link outage} is over. */
  recovered(): Promise<void>;
  /** Drops all connections and stops. Token files stay. */
  close(): Promise<void>;
}
