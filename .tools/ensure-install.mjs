// Runs before every npm script of this package: installs the locked dependencies
// when `node_modules` is missing or does not hold what `package-lock.json` names.
// Runs under whatever Node the machine's npm runs on, before the project's own is there.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Why the installed tree is not the locked one, or undefined when it is. */
function staleness() {
  const installedFile = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(installedFile)) return 'node_modules is missing';
  const locked = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  const installed = JSON.parse(readFileSync(installedFile, 'utf8')).packages;
  for (const [path, entry] of Object.entries(locked)) {
    if (path === '' || entry.optional || entry.devOptional || entry.peer) continue;
    if (installed[path]?.version !== entry.version) return `${path} is not at ${entry.version}`;
  }
  // The locked Node comes by an install script, which an npm may have refused to run.
  if (!existsSync(join(root, 'node_modules', 'node', 'bin', 'node'))) return 'Node is not there';
  return undefined;
}

function run(command, args) {
  const done = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (done.status !== 0) process.exit(done.status ?? 1);
}

const reason = staleness();
if (reason !== undefined) {
  process.stderr.write(`installing dependencies: ${reason}\n`);
  // Its warnings would be about the machine's Node, which runs nothing here but npm itself.
  run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']);
  // npm releases that refuse install scripts by default leave the locked Node unlinked.
  if (!existsSync(join(root, 'node_modules', 'node', 'bin', 'node'))) {
    run('npm', ['rebuild', 'node', '--foreground-scripts']);
  }
}
// The test runner comes built with all its plugins, and `.taprc` leaves the TypeScript one out.
const runner = join(root, 'node_modules/@tapjs/test/test-built/dist/esm/index.js');
if (readFileSync(runner, 'utf8').includes('@tapjs/typescript')) {
  run('npm', ['exec', '--', 'tap', 'build']);
}
