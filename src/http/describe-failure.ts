import { scrub } from '../telemetry/scrub.ts';

/**
 * Says in a few words why a request failed, with the connection's error code where the
 * message does not have it; nothing like a token or a secret is left in it.
 */
export function describeFailure(error: unknown): string {
  if (!(error instanceof Error)) return 'failed';
  const { code } = error as NodeJS.ErrnoException;
  const message = scrub(error.message);
  return code === undefined || message.includes(code) ? message : `${message} (${code})`;
}
