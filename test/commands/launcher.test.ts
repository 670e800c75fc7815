import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const LAUNCHER = fileURLToPath(new URL('../../src/launcher.js', import.meta.url));

t.test('what was built is run where there is something, and else the sources', async (t) => {
  const folder = t.testdir({
    'package.json': '{"type":"module"}',
    bin: {},
    src: {
      'main.ts': "const said: string = 'sources'; console.log(said, ...process.argv.slice(2));",
    },
  });
  const launcher = join(folder, 'src', 'launcher.js');
  cpSync(LAUNCHER, launcher);
  // As npm installs it: found through the PATH, with the node of the PATH.
  const command = join(folder, 'bin', 'pod-identity-broker');
  symlinkSync(launcher, command);
  const env = { PATH: `${dirname(process.execPath)}:${process.env.PATH}` };
  const run = (...args: string[]) => execFileSync(command, args, { encoding: 'utf8', env });
  t.equal(run('version', '--x=1'), 'sources version --x=1\n');
  mkdirSync(join(folder, 'dist'));
  writeFileSync(join(folder, 'dist', 'main.js'), "console.log('built', ...process.execArgv);");
  t.match(run('server'), /^built .*--disable-sigusr1/, 'and with no debugger on a signal');
});

t.test('the program itself, by the launcher', async (t) => {
  const { PATH } = process.env;
  const said = execFileSync(process.execPath, [LAUNCHER, 'version'], {
    encoding: 'utf8',
    env: { PATH },
  });
  t.match(said, /^pod-identity-broker \d+\.\d+\.\d+|^\d+\.\d+\.\d+/m);
});
