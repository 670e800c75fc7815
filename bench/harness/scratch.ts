import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const kept = new Set<string>();

// There are tokens and keys in them: none stays, whichever way the process ends.
process.on('exit', () => {
  for (const path of kept) rmSync(path, { recursive: true, force: true });
});

/** A directory for a while; disposing of it removes it with what is in it. */
export interface Scratch extends Disposable {
  readonly path: string;
}

/**
 * Makes a directory that nobody else can read.
 *
 * @param name - Shown in its path: what it is for.
 */
export function scratchDirectory(name: string): Scratch {
  const path = mkdtempSync(join(tmpdir(), `broker-bench-${name}-`));
  kept.add(path);
  return {
    path,
    [Symbol.dispose]: () => {
      rmSync(path, { recursive: true, force: true });
      kept.delete(path);
    },
  };
}
