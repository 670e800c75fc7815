import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../src/simulator/free-port.ts';
import { ready, startChild } from '../harness/child.ts';
import { scratchDirectory } from '../harness/scratch.ts';
import { type Address, tryOnce } from '../load/one-try.ts';

/** A bare `node:http` server that runs. */
export interface BareServer extends AsyncDisposable {
  readonly pid: number;
  readonly address: Address;
}

/**
 * Starts the bare server, and waits until it answers.
 *
 * @param bodies - What it answers, by token.
 * @param core - The core that it runs on; undefined for any.
 */
export async function startBare(
  bodies: Readonly<Record<string, string>>,
  core: number | undefined,
): Promise<BareServer> {
  const scratch = scratchDirectory('bare');
  const file = join(scratch.path, 'bodies.json');
  writeFileSync(file, JSON.stringify(bodies), { mode: 0o600 });
  const program = fileURLToPath(new URL('bare.ts', import.meta.url));
  const address = { host: '127.0.0.1', port: await freePort() };
  const child = startChild([process.execPath, program, String(address.port), file], { core });
  const [token = ''] = Object.keys(bodies);
  await ready(child, 'the bare server', async () => {
    const { status } = await tryOnce(address, token, { patience: 1_000 });
    return status === 200;
  });
  return {
    pid: child.pid,
    address,
    [Symbol.asyncDispose]: async () => {
      await child[Symbol.asyncDispose]();
      scratch[Symbol.dispose]();
    },
  };
}
