import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { readConfig } from '../../bench/config/config.ts';
import { readOptions } from '../../bench/options.ts';

const SHIPPED = fileURLToPath(new URL('../../bench.config.json', import.meta.url));

t.test('the configuration that is shipped', async (t) => {
  const full = readConfig(SHIPPED, { quick: false, set: [] });
  const quick = readConfig(SHIPPED, { quick: true, set: [] });
  t.equal(full.storm.pods, 5_000);
  t.ok(quick.storm.pods < full.storm.pods, 'quick changes what it names');
  t.equal(quick.storm.perSecond, full.storm.perSecond, 'and nothing else');
});

t.test('--set changes one field', async (t) => {
  const config = readConfig(SHIPPED, {
    quick: false,
    set: ['hit-path.rounds=3', 'storm.quota.rate=0.5', 'fleet.nodes=[7]'],
  });
  t.equal(config['hit-path'].rounds, 3);
  t.equal(config.storm.quota.rate, 0.5);
  t.same(config.fleet.nodes, [7]);
});

t.test('what is wrong is named', async (t) => {
  const wrong = {
    'hit-path.rounds=0': /^hit-path\.rounds must be at least 1/,
    'hit-path.rounds=many': /^hit-path\.rounds must be a number/,
    'burst.connectingPerSecond=0': /^burst\.connectingPerSecond must be at least 1/,
    'hit-path.runs=1': /^hit-path\.runs is not known/,
    'storm.quota.rate=-1': /^storm\.quota\.rate must be at least/,
    'density.combinations=[{"pods":1,"processes":1}]':
      /^density\.combinations\[0\]\.serviceAccounts must be a number/,
    'density.combinations=[]': /^density\.combinations must have at least one entry/,
    'fleet.nodes=[]': /^fleet\.nodes must have at least one entry/,
    'density.latency=80': /^density\.latency must be an object/,
    'storm.quota=null': /^storm\.quota must be an object/,
    'nothing.rounds=1': /^nothing\.rounds is not known/,
    '__proto__.rounds=1': /^__proto__\.rounds is not known/,
    '__proto__=1': /^__proto__ is not known/,
    'toString.name=1': /^toString\.name is not known/,
    rounds: /^--set takes key=value, not "rounds"/,
  };
  for (const [set, complaint] of Object.entries(wrong)) {
    t.throws(() => readConfig(SHIPPED, { quick: false, set: [set] }), { message: complaint }, set);
  }
});

t.test('a file that is not JSON is named', async (t) => {
  const file = join(t.testdir(), 'config.json');
  writeFileSync(file, '{"seed": 1');
  t.throws(() => readConfig(file, { quick: false, set: [] }), {
    message: /config\.json is not JSON: /,
  });
});

t.test('a file without a field', async (t) => {
  const file = join(t.testdir(), 'config.json');
  writeFileSync(file, '{"seed": 1}');
  t.throws(() => readConfig(file, { quick: false, set: [] }), {
    message: /^peer must be an object/,
  });
});

t.test('the command line', async (t) => {
  const config = ['--config', SHIPPED];
  t.equal(readOptions(config).wanted.length, 12, 'all scenarios unless some are named');
  t.same(
    readOptions([...config, '--scenario', 'storm']).wanted.map(({ name }) => name),
    ['storm'],
  );
  t.throws(() => readOptions([...config, '--scenario', 'calm']), {
    message: /^--scenario calm is not known; known: hit-path, /,
  });
  t.same(readOptions([...config, '--peer', 'http://127.0.0.1:81']).peer, {
    address: { host: '127.0.0.1', port: 81 },
    simulator: 'http://127.0.0.1:8090',
    pid: undefined,
  });
  const pid = ['--peer-pid', String(process.pid)];
  t.equal(readOptions([...config, '--peer', 'http://[::1]', ...pid]).peer?.pid, process.pid);
  t.throws(() => readOptions([...config, '--peer', 'http://[::1]', '--peer-pid', '0']), {
    message: /^--peer-pid must be a process of this machine, not 0/,
  });
  t.throws(() => readOptions([...config, ...pid]), {
    message: /^--peer-pid is the one of a --peer/,
  });
  t.equal(readOptions(config).trace, false);
  t.equal(readOptions([...config, '--trace']).trace, true);
  t.throws(() => readOptions([...config, '--peer', 'there']), {
    message: /^--peer must be a URL/,
  });
  t.throws(() => readOptions([...config, '--simulator', 'http://127.0.0.1:1']), {
    message: /^--simulator is the one of a --peer/,
  });
});
