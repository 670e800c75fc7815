#!/usr/bin/env -S node --disable-sigusr1 --max-semi-space-size=16 --no-short-builtin-calls --v8-pool-size=2
// The flags: no debugger on a signal; a young generation of the heap that stays as large as it is
// with the Node.js that this was measured with (half of it costs a tenth of the answers on a
// connection each); no copy of V8's built-in functions beside the compiled code, which takes 2 MiB;
// and two threads that help V8, not four, which leave 4 MiB less behind.
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
