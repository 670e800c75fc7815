import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Makes a folder that nobody but this user may enter, and those above it, if they are not there yet.
 *
 * Node's own `recursive` tries for ever where a folder cannot be made though the one above it is
 * there, as in /proc (seen with Node.js 26.10).
 *
 * @param path - What is there already stays as it is, be it a folder or not.
 * @throws What the system says of the folder that cannot be made (`EACCES`, `ENOENT`, `ENOTDIR`).
 */
export async function makeFolder(path: string): Promise<void> {
  try {
    await makeOne(path);
  } catch (error) {
    const above = dirname(path);
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || above === path) throw error;
    await makeFolder(above);
    await makeOne(path);
  }
}

async function makeOne(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}
