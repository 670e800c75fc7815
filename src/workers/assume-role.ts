import type { EpochMs, MonotonicMs } from '../clock.ts';
import { assumeRoleForPodIdentity, type RoleCredentials } from '../eks-auth/assume-role.ts';
import { classify, isOfService } from '../eks-auth/classify.ts';
import { createClient } from '../eks-auth/create-client.ts';
import { resolveEndpoint } from '../eks-auth/endpoint.ts';
import type { AssumeRoleFailure } from '../eks-auth/failure.ts';
import type { EKSAuthClient } from '../eks-auth/index.ts';
import type { NodeCredentials } from '../eks-auth/node-credentials.ts';
import type { CalledServer, WorkTimes } from '../telemetry/tracing.ts';
import { outgoing } from './outgoing.ts';
import { settings } from './settings.ts';

/** The input of one call to EKS Auth; it is copied to the worker thread. */
export interface AssumeRoleTask {
  readonly token: string;
  readonly region: string;
  readonly credentials: NodeCredentials;
}

/** The outcome of a call. */
export type AssumeRoleOutcome = (
  | { readonly ok: true; readonly role: RoleCredentials }
  | { readonly ok: false; readonly failure: AssumeRoleFailure }
) & {
  /** The service's time when the call ended, if the service itself answered. */
  readonly serviceTime?: EpochMs | undefined;
  /** When the attempt started and ended, by this thread's clock. */
  readonly times?: WorkTimes | undefined;
  /** The endpoint that was called. */
  readonly server?: CalledServer | undefined;
};

let client: { readonly eksAuth: EKSAuthClient; readonly server: CalledServer } | undefined;
let credentials: NodeCredentials;

/** Worker task: one attempt at AssumeRoleForPodIdentity. Never rejects. */
export async function assumeRole(task: AssumeRoleTask): Promise<AssumeRoleOutcome> {
  const { clusterName } = settings();
  const startedAt = performance.timeOrigin + performance.now();
  const times = (): WorkTimes => ({
    startedAt,
    endedAt: performance.timeOrigin + performance.now(),
  });
  let dated: { readonly date: EpochMs; readonly at: MonotonicMs } | undefined;
  const onDate = (date: EpochMs) => {
    dated = { date, at: performance.now() };
  };
  // Each call is signed with the newest credentials; those in progress are signed already.
  credentials = task.credentials;
  try {
    if (client?.server.region !== task.region) client = connect(task);
    const { token } = task;
    const role = await assumeRoleForPodIdentity(client.eksAuth, { clusterName, token, onDate });
    return { ok: true, role, serviceTime: timeNow(dated), times: times(), server: client.server };
  } catch (error) {
    const failure = classify(error);
    const serviceTime = isOfService(failure) ? timeNow(dated) : undefined;
    return { ok: false, failure, serviceTime, times: times(), server: client?.server };
  }
}

/** The service's time now. A date is cut to the second, so half a second is added. */
function timeNow(
  dated: { readonly date: EpochMs; readonly at: MonotonicMs } | undefined,
): EpochMs | undefined {
  return dated === undefined ? undefined : dated.date + 500 + performance.now() - dated.at;
}

function connect({ region }: AssumeRoleTask): NonNullable<typeof client> {
  const { endpoint, fips, attemptTimeout, userAgent } = settings();
  const { hostname, port, protocol } = resolveEndpoint({ region, fips, endpoint });
  const server: CalledServer = {
    region,
    address: hostname,
    port: port === '' ? (protocol === 'http:' ? 80 : 443) : Number(port),
  };
  const eksAuth = createClient({
    region,
    fips,
    endpoint,
    attemptTimeout,
    userAgent,
    dispatcher: outgoing(),
    credentials: () => credentials,
  });
  return { eksAuth, server };
}
