import type { DurationMs } from '../../clock.ts';
import { POD_PROGRAM } from './program.ts';
import type { PodPlace } from './stage.ts';

/** How long a pod may take: all tries of its SDK, on a machine that is busy. */
const DONE_WITHIN: DurationMs = 60_000;

/** Who a pod turned out to be. */
export interface PodResult {
  /** The roles of its role sessions, each once. */
  readonly roles: readonly string[];
  /** Why it has none. */
  readonly failure: string | undefined;
}

/**
 * Runs a pod to its end.
 *
 * @param environment - All that it is given.
 * @param signal - Kills it.
 */
export function runPod(
  place: Pick<PodPlace, 'exec'>,
  environment: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<PodResult> {
  return new Promise((resolve) => {
    const child = place.exec(process.execPath, [POD_PROGRAM], {
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe'],
      signal,
      timeout: DONE_WITHIN,
      killSignal: 'SIGKILL',
    });
    let output = '';
    let complaint = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      complaint += text;
    });
    child.once('error', (error) => resolve({ roles: [], failure: error.message }));
    child.once('close', (code, killed) => {
      const lines = output.split('\n').filter((line) => line !== '');
      const roles = [...new Set(lines.map(roleOf))];
      const failure = complaint.trim() || `ended with ${killed ?? `exit ${code}`}`;
      resolve({ roles, failure: code === 0 && roles.length > 0 ? undefined : failure });
    });
  });
}

/** The role of `arn:aws:sts::<account>:assumed-role/<role>/<session>`; any other ARN as it is. */
function roleOf(arn: string): string {
  return /^arn:[^:]*:sts::\d*:assumed-role\/([^/]+)\//.exec(arn)?.[1] ?? arn;
}
