import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { parse } from 'yaml';
import { startInProcess } from '../listener/in-process-broker.ts';
import { ask, parseMetrics } from '../support/ask.ts';
import { needsProgram } from '../support/needs.ts';

const FOLDER = new URL('../../deploy/observability/', import.meta.url);
const read = (name: string) => readFileSync(new URL(name, FOLDER), 'utf8');

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly description: string };
}
const rules: readonly Rule[] = parse(read('alerts.yaml')).groups.flatMap(
  (group: { readonly rules: readonly Rule[] }) => group.rules,
);

/** Gauges of what there is not yet: a session, keys. */
const APPEAR_LATER = new Set([
  'pod_identity_broker_soonest_expiry_seconds',
  'pod_identity_broker_keys_unconfirmed_seconds',
]);

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: {
    readonly x: number;
    readonly y: number;
    readonly w: number;
    readonly h: number;
  };
  readonly targets?: readonly { readonly expr: string }[];
}
const panels: readonly Panel[] = JSON.parse(read('dashboard.json')).panels;

/** Metrics of docs/metrics.md, with the series that make up a histogram. */
const documented = new Set(
  [
    ...readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8').matchAll(
      /^\| `(\w+)` \| (counter|gauge|histogram) \|/gm,
    ),
  ].flatMap(([, name, type]) =>
    type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
  ),
);

const metricsOf = (expression: string) =>
  [...expression.matchAll(/\b(?:pod_identity|process|nodejs)_\w+/g)].map(([name]) => name);

t.test('alerts and dashboard name metrics that exist', async (t) => {
  for (const { alert, expr } of rules) {
    const used = metricsOf(expr);
    t.ok(used.length > 0, alert);
    for (const name of used) t.ok(documented.has(name), `${alert}: ${name}`);
  }
  const expressions = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  t.ok(expressions.length > 30);
  for (const name of expressions.flatMap(metricsOf)) t.ok(documented.has(name), name);
});

t.test('series that alerts select are there before anything happens', async (t) => {
  // A counter that appears with its first event has not increased yet, and an alert misses it.
  const broker = await startInProcess(t);
  const { text } = await ask(broker.metricsPort, '/metrics', 'GET', { Connection: 'close' });
  const series = [...parseMetrics(text).keys()];
  for (const { alert, expr } of rules.filter(({ expr }) => !expr.includes('_redis_'))) {
    for (const [, name = '', selector = ''] of expr.matchAll(/\b(pod_identity_\w+)(\{[^}]*\})?/g)) {
      const [, label = '', values = ''] = /^\{(\w+)=~?"([^"]+)"\}$/.exec(selector) ?? [];
      for (const value of values.split('|').filter(Boolean)) {
        t.ok(
          series.includes(`${name}{${label}="${value}"}`),
          `${alert}: ${name} ${label}=${value}`,
        );
      }
      if (selector === '') {
        t.ok(APPEAR_LATER.has(name) || series.some((one) => one.split('{')[0] === name), name);
      }
    }
  }
});

t.test('panels do not overlap, and each asks for something', async (t) => {
  const taken = new Set<string>();
  for (const { id, type, title, gridPos, targets = [] } of panels) {
    t.ok(type === 'row' || targets.length > 0, title);
    t.equal(panels.filter((panel) => panel.id === id).length, 1, `id ${id}`);
    t.ok(gridPos.x + gridPos.w <= 24, title);
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
        if (taken.has(`${x} ${y}`)) t.fail(`${title} overlaps at ${x} ${y}`);
        taken.add(`${x} ${y}`);
      }
    }
  }
});

t.test('every alert is tested, silent and firing', async (t) => {
  const tests = read('alerts.test.yaml');
  const readme = read('README.md');
  for (const { alert, labels, annotations } of rules) {
    t.match(tests, `alertname: ${alert},`, `${alert} stays silent`);
    t.match(tests, `alertname="${alert}",alertstate="firing"`, `${alert} fires`);
    t.match(readme, `| \`${alert}\` | ${labels.severity} | `, `${alert} is in the table`);
    t.match(labels.severity, /^(?:warning|critical)$/);
    t.ok(annotations.summary.length > 0 && annotations.description.length > 0, alert);
  }
});

const promtool = (...args: string[]) =>
  spawnSync('promtool', args, { cwd: fileURLToPath(FOLDER), encoding: 'utf8', timeout: 60_000 });

t.test('promtool accepts the rules', { skip: needsProgram('promtool') }, async (t) => {
  const checked = promtool('check', 'rules', 'alerts.yaml');
  t.equal(checked.status, 0, checked.stderr);
  const tested = promtool('test', 'rules', 'alerts.test.yaml');
  t.equal(tested.status, 0, `${tested.stdout}${tested.stderr}`);
});

t.test("promtool parses the dashboard's queries", { skip: needsProgram('promtool') }, async (t) => {
  const expressions = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  // As Grafana fills them in.
  const filled = expressions.map((expr) =>
    expr.replaceAll('$__rate_interval', '1m').replaceAll(/\$(?:instance|job)/g, '.*'),
  );
  const recorded = filled.map((expr, index) => ({ record: `panel:${index}`, expr }));
  const folder = t.testdir({
    'rules.json': JSON.stringify({ groups: [{ name: 'dashboard', rules: recorded }] }),
  });
  const { status, stderr } = promtool('check', 'rules', join(folder, 'rules.json'));
  t.equal(status, 0, stderr);
});
