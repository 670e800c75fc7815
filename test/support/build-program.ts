import { execFileSync } from 'node:child_process';
import { existsSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PACKAGE = fileURLToPath(new URL('../../package.json', import.meta.url));
const BUILD = fileURLToPath(new URL('../../.tools/build.mjs', import.meta.url));

/**
 * Builds the program as `npm run build` does.
 *
 * @param folder - Gets `dist/`, and a link to the package's file, which says the version.
 * @returns The file to start.
 */
export function buildProgram(folder: string): string {
  const beside = join(folder, 'package.json');
  if (!existsSync(beside)) symlinkSync(PACKAGE, beside);
  const program = join(folder, 'dist');
  execFileSync(process.execPath, [BUILD, program]);
  return join(program, 'main.js');
}
