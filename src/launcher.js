#!/usr/bin/env -S node --disable-sigusr1 --max-semi-space-size=16 --heap-growing-percent=20 --no-maglev --no-short-builtin-calls --v8-pool-size=2
// The flags: no debugger on a signal; a young generation of the heap of half of what Node.js has, and
// not less, since a quarter costs 6 to 9 % of the answers on a connection each; an old one that is
// tidied up when it has grown by a fifth, with which the pod watch stays below 128 MiB; no Maglev, the
// compiler between V8's first and its best, which takes 5 MiB and is of use for seconds; no copy of
// V8's built-in functions beside the compiled code, which takes 2 MiB; and two threads that help V8,
// not four, which leave 4 MiB less behind.
// Runs the compiled program where it was built, and its sources in a checkout.
import { existsSync } from 'node:fs';

const [major] = process.versions.node.split('.').map(Number);
if (major < 24) {
  process.stderr.write(
    `pod-identity-broker needs Node.js 24 or newer; this is ${process.version}\n`,
  );
  process.exit(1);
}
const built = new URL('../dist/main.js', import.meta.url);
await import(existsSync(built) ? built.href : new URL('./main.ts', import.meta.url).href);
