import { Option } from 'commander';
import { DEFAULT_ADMIN_SOCKET } from '../config/config.ts';
import { ENVIRONMENT_PREFIX } from '../config/server-options.ts';
import { AdminClientError } from '../listener/admin-client.ts';

/** `--admin-socket`, of the commands that ask the broker on this node. */
export function adminSocketOption(): Option {
  return new Option('--admin-socket <path>', "the broker's admin socket")
    .env(`${ENVIRONMENT_PREFIX}ADMIN_SOCKET`)
    .default(DEFAULT_ADMIN_SOCKET);
}

/** Carries out what asks the broker; where that fails it says why, with exit status 1. */
export async function reportingFailure(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof AdminClientError)) throw error;
    process.stderr.write(`error: ${error.message}\n`);
    process.exitCode = 1;
  }
}
