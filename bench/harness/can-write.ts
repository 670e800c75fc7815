import { existsSync, mkdirSync, mkdtempSync, rmdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

/**
 * Tries out whether files can be written into a directory that may not be there yet, and leaves
 * everything as it was. Without `recursive`: on `/proc` and the like, where making a directory is
 * answered `ENOENT`, that tries again for ever (Node.js 26).
 *
 * @throws Error of the file system.
 */
export function checkCanWrite(directory: string): void {
  const made: string[] = [];
  const make = (path: string) => {
    if (existsSync(path)) return;
    make(dirname(path));
    mkdirSync(path);
    made.push(path);
  };
  try {
    make(resolve(directory));
    rmdirSync(mkdtempSync(join(directory, '.bench-')));
  } finally {
    for (const path of made.toReversed()) rmdirSync(path);
  }
}
