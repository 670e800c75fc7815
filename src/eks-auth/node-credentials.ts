import type { EpochMs } from '../clock.ts';

/** AWS credentials of the node itself: what calls to EKS Auth are signed with. */
export interface NodeCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  /** Absent where they do not expire. */
  readonly expiresAt?: EpochMs;
}
