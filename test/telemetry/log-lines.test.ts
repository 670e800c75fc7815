import { spawn } from 'node:child_process';
import { once } from 'node:events';
import pino from 'pino';
import t from 'tap';
import { BoundedLines } from '../../src/telemetry/bounded-lines.ts';
import { auditLog, silentLog } from '../../src/telemetry/log.ts';
import { RepeatedFaults } from '../../src/telemetry/repeated-faults.ts';
import { StateWatch } from '../../src/telemetry/state-watch.ts';
import { capturedLog } from '../support/captured-log.ts';
import { ManualClock } from '../support/manual-clock.ts';

const fault = (reason: string) =>
  ({ level: 'warn', fields: { reason }, message: 'it fails' }) as const;

t.test('a fault is told at once, then summed up once a minute', async (t) => {
  const clock = new ManualClock();
  const { log, lines } = capturedLog();
  const faults = new RepeatedFaults(clock, log);
  for (let i = 0; i < 500; i += 1) faults.report('a', fault(`${i}`));
  t.match(lines, [{ level: 'warn', msg: 'it fails', reason: '0' }]);
  t.equal(lines.length, 1);
  await clock.advance(60_000);
  t.match(lines[1], { msg: 'it fails', reason: '499', repeats: 499 });
  await clock.advance(60_000);
  t.equal(lines.length, 2, 'silence costs nothing');
  t.equal(clock.pending, 0);
  faults.report('a', fault('again'));
  t.equal(lines.length, 3, 'and the next one is a first one');
  faults.report('a', fault('and again'));
  faults.over('a');
  t.match(lines[3], { repeats: 1 });
  faults.over('a');
  faults.report('b', fault('other'));
  faults.report('b', fault('other'));
  faults.stop();
  t.match(lines.at(-1), { repeats: 1 });
  t.equal(clock.pending, 0);
});

t.test('faults without end are told apart up to a bound', async (t) => {
  const clock = new ManualClock();
  const { log, lines } = capturedLog();
  const faults = new RepeatedFaults(clock, log);
  for (let i = 0; i < 5_000; i += 1) faults.report(`fault ${i}`, fault('x'));
  t.equal(lines.length, 513);
  await clock.advance(60_000);
  t.match(lines.at(-1), { repeats: 5_000 - 513 });
});

t.test('lines about requests are bounded, and what is left out is counted', async (t) => {
  const clock = new ManualClock();
  const { log, lines } = capturedLog();
  const bounded = BoundedLines.of(clock, log);
  for (let i = 0; i < 1_000; i += 1) bounded?.write({ i }, 'request');
  t.equal(lines.length, 50);
  await clock.advance(1_000);
  t.match(lines[50], { level: 'debug', suppressed: 950 });
  bounded?.write({}, 'request');
  t.equal(lines.length, 52);
  t.equal(clock.pending, 0);
  t.equal(BoundedLines.of(clock, silentLog), undefined, 'no line without a log for it');
});

t.test('changes of state are told once', async (t) => {
  const clock = new ManualClock();
  const { log, lines } = capturedLog();
  let state = 'well';
  const watch = new StateWatch(clock, log, [
    {
      read: () => state,
      changed: (now, before) =>
        now === 'unspoken'
          ? undefined
          : { level: 'info', fields: { before }, message: `it is ${now}` },
    },
  ]);
  watch.start();
  await clock.advance(5_000);
  t.equal(lines.length, 0, 'how it was at first goes without saying');
  state = 'ill';
  await clock.advance(5_000);
  t.match(lines, [{ msg: 'it is ill', before: 'well' }]);
  state = 'unspoken';
  await clock.advance(1_000);
  state = 'well';
  await clock.advance(1_000);
  t.equal(lines.length, 2);
  watch.stop();
  t.equal(clock.pending, 0);
});

t.test('audit lines are written whatever else is not', async (t) => {
  const written: string[] = [];
  const log = pino({ level: 'fatal' }, { write: (line: string) => void written.push(line) });
  const audit = auditLog(log);
  log.error('not asked for');
  audit.info({ pod: 'a' }, 'credentials handed to pod');
  t.equal(written.length, 1);
  t.match(JSON.parse(written[0] ?? ''), { pod: 'a', msg: 'credentials handed to pod' });
  t.equal(auditLog(silentLog), silentLog, 'where there is no log at all, there is none of these');
});

t.test('a reader that stands still costs lines, which are counted', async (t) => {
  const lines = 20_000;
  const source = `
    import { createLog } from ${JSON.stringify(new URL('../../src/telemetry/log.ts', import.meta.url))};
    let dropped = 0;
    const log = createLog('info', () => { dropped += 1; });
    for (let n = 0; n < ${lines}; n += 1) log.info({ n, filling: 'x'.repeat(1_000) }, 'line');
    process.stderr.write(String(dropped));
  `;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', source], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  // The last thing it does while nobody has read a line.
  const [said] = await once(child.stderr, 'data');
  const dropped = Number(String(said));
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  await once(child, 'close');
  const arrived = text.split('\n').filter((line) => line !== '').length;
  t.ok(dropped > 0, `${dropped} dropped`);
  t.ok(arrived > 0, `${arrived} arrived`);
  t.equal(arrived + dropped, lines, 'each line has arrived or is counted');
});
