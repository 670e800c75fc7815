import type { RemotePod, RemoteSimulator } from '../../src/simulator/control-client.ts';
import { BrokenRunError } from './broken-run.ts';

/** A pod and the body of the answer that it got. */
export interface PodAnswer {
  readonly pod: Pick<RemotePod, 'serviceAccount' | 'name' | 'token'>;
  readonly body: string;
}

/**
 * Checks that each pod was given credentials of its own service account's role: the
 * simulator's audit log says for which role an access key id was issued.
 *
 * @throws BrokenRunError about the first that was not.
 */
export async function checkAnswers(
  simulator: RemoteSimulator,
  answers: readonly PodAnswer[],
): Promise<void> {
  const events = await simulator.audit.events({ operation: 'AssumeRoleForPodIdentity' });
  const roles = new Map<string, string>();
  for (const { issuedAccessKeyId, assumedRoleArn } of events) {
    if (issuedAccessKeyId !== undefined) roles.set(issuedAccessKeyId, roleName(assumedRoleArn));
  }
  for (const { pod, body } of answers) {
    const role = roles.get(accessKeyId(body));
    if (role !== pod.serviceAccount) {
      throw new BrokenRunError(
        `pod ${pod.name} of ${pod.serviceAccount} was given ${role ?? 'what nobody issued'}`,
      );
    }
  }
}

function accessKeyId(body: string): string {
  try {
    return (JSON.parse(body) as { AccessKeyId: string }).AccessKeyId;
  } catch {
    throw new BrokenRunError('an answer is not JSON');
  }
}

function roleName(assumedRoleArn: string | undefined): string {
  return assumedRoleArn?.split('/')[1] ?? '';
}
