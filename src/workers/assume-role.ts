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

/** One call to EKS Auth, with all that it needs; it is carried to the thread by value. */
export interface AssumeRoleTask {
  readonly token: string;
  readonly region: string;
  readonly credentials: NodeCredentials;
}

/** What came of a call. */
export type AssumeRoleOutcome = (
  | { readonly ok: true; readonly role: RoleCredentials }
  | { readonly ok: false; readonly failure: AssumeRoleFailure }
) & {
  /** The time of the service, where it was the service that answered. */
  readonly serviceTime?: EpochMs | undefined;
  /** When the attempt was made, by this thread's clock. */
  readonly times?: WorkTimes | undefined;
  /** Where the call was made. */
  readonly server?: CalledServer | undefined;
};

let client: { readonly eksAuth: EKSAuthClient; readonly server: CalledServer } | undefined;
let credentials: NodeCredentials;

/** Task: one attempt at AssumeRoleForPodIdentity on a worker thread. */
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
  // Calls that are under way have signed already; the next ones take the newest credentials.
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

/** What a date has become since; half a second is its mean error. */
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
