import { appendFileSync, copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { argv, env, pid } from 'node:process';

// What this project's tests leave behind, where the variable asks for it: every token, secret key
// and session token that simulators have issued, and what brokers wrote, traced and exposed
// meanwhile. When all tests are over, the one is searched for the other
// (test/support/search-test-output.ts).

/** Names the directory. Unset, which is the default, nothing is written anywhere. */
export const TEST_OUTPUT_VARIABLE = 'POD_IDENTITY_TEST_OUTPUT';

const directory = env[TEST_OUTPUT_VARIABLE];
let secrets: string | undefined;
let files = 0;

/** For the environment of another process that has a simulator in it. */
export const testOutputEnvironment: Readonly<Record<string, string>> = directory
  ? { [TEST_OUTPUT_VARIABLE]: directory }
  : {};

/** Writes down a secret that was issued. */
export function noteSecret(secret: string): void {
  if (!directory) return;
  secrets ??= join(folder(directory, 'secrets'), String(pid));
  appendFileSync(secrets, `${secret}\n`, { mode: 0o600 });
}

/** Keeps what one source gives, in a file named after the test. */
export class KeptOutput {
  readonly #file: string | undefined;

  /** @param source - What it is; the part behind the last dot is its kind, e.g. `server.stdout`. */
  constructor(source: string) {
    this.#file = newFile(source);
  }

  /** Whether output is kept at all. */
  get wanted(): boolean {
    return this.#file !== undefined;
  }

  /** Appends text or bytes. */
  write(chunk: string | Uint8Array): void {
    if (this.#file !== undefined) appendFileSync(this.#file, chunk);
  }
}

/** Keeps a copy of a file that was collected, if it is there. */
export function keepFile(path: string): void {
  const copy = existsSync(path) ? newFile(basename(path)) : undefined;
  if (copy !== undefined) copyFileSync(path, copy);
}

function newFile(source: string): string | undefined {
  if (!directory) return undefined;
  files += 1;
  const test = basename(argv[1] ?? '', '.test.ts');
  return join(folder(directory, 'output'), `${test}.${pid}.${files}.${source}`);
}

function folder(parent: string, name: string): string {
  const path = join(parent, name);
  mkdirSync(path, { recursive: true });
  return path;
}
