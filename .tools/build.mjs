// Bundles the program into `dist/`, or the folder that is named: a process that reads a few files instead of hundreds starts
// sooner, and holds less. Names stay as they are, so that stacks in the log can be read.
import { rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const outdir = process.argv[2] ?? join(root, 'dist');

rmSync(outdir, { recursive: true, force: true });
await build({
  absWorkingDir: root,
  // The worker threads' file lies beside the chunks, whichever of them starts the threads.
  entryPoints: { main: 'src/main.ts', tasks: 'src/workers/tasks.ts' },
  outdir,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  mainFields: ['module', 'main'],
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'linked',
  // These stay packages: piscina starts a file of its own on its threads, the others are loaded
  // only where a flag or a variable asks for them.
  external: ['piscina', '@opentelemetry/*', 'yaml', 'ioredis'],
  // What CommonJS packages expect, inside ES modules.
  banner: {
    js: "import { createRequire as createRequire_ } from 'node:module'; const require = createRequire_(import.meta.url);",
  },
  logLevel: 'warning',
});
