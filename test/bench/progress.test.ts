import t from 'tap';
import { Progress } from '../../bench/report/progress.ts';
import type { Scenario } from '../../bench/scenario.ts';
import { waitingTogether } from '../../bench/scenarios/index.ts';

function capture(isTTY: boolean) {
  let text = '';
  const write = (chunk: string | Uint8Array) => {
    text += chunk;
    return true;
  };
  return { stream: { write, isTTY, columns: 30 }, text: () => text };
}

t.test('where there is no terminal, all lines stay', async (t) => {
  const { stream, text } = capture(false);
  const progress = new Progress(stream);
  const { say, done } = progress.begin('density', 'calls of a node');
  say('30 pods');
  t.ok(done() < 5, 'seconds');
  progress.end();
  t.equal(text(), 'density: calls of a node\n     0 s  30 pods\n     0 s  done after 0 s\n');
});

t.test('on a terminal one line changes, and each scenario keeps its first and last', async (t) => {
  const { stream, text } = capture(true);
  const progress = new Progress(stream);
  const { say, done } = progress.begin('density', 'calls of a node');
  say('a line that is longer than the terminal is wide');
  done();
  progress.begin('storm', 'a test');
  progress.end();
  const lines = text().split('\n');
  const left = lines.map((line) => line.split('\r\u001b[K').at(-1));
  t.same(left, ['density: calls of a node', '     0 s  done after 0 s', 'storm: a test', '']);
  const written = text().replaceAll('\r\u001b[K', '\n').split('\n');
  const widest = Math.max(...written.map(({ length }) => length));
  t.equal(widest, 29, 'what is too long is cut off, and does not wrap');
});

t.test('scenarios at the same time are told apart', async (t) => {
  const { stream, text } = capture(false);
  const progress = new Progress(stream);
  const one = progress.begin('outage', 'one');
  const two = progress.begin('slow', 'two');
  one.say('EKS Auth is away');
  two.done();
  one.done();
  t.same(text().split('\n').slice(2, 5), [
    '     0 s  outage: EKS Auth is away',
    '     0 s  slow: done after 0 s',
    '     0 s  done after 0 s',
  ]);
});

t.test('only scenarios that mostly wait run beside others', async (t) => {
  const scenario = (name: string, mostlyWaits?: true) =>
    ({ name, ...(mostlyWaits && { mostlyWaits }) }) as Scenario;
  const groups = waitingTogether([
    scenario('a'),
    scenario('b'),
    scenario('c', true),
    scenario('d', true),
    scenario('e'),
    scenario('f', true),
  ]);
  t.same(
    groups.map((group) => group.map(({ name }) => name).join('')),
    ['a', 'b', 'cd', 'e', 'f'],
  );
});
