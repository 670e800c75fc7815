import { drawBars } from './bar-chart.ts';
import type { Chart } from './chart.ts';
import { drawLines } from './line-chart.ts';
import type { Results } from './results.ts';
import { STYLE } from './style.ts';
import { subjectLine } from './subject.ts';
import { escaped, FRAMES } from './svg.ts';
import type { Table } from './table.ts';

/** The whole report as one page that needs nothing else: no script, no network. */
export function reportPage(results: Results): string {
  const { machine, subject, config } = results;
  const scenarios = Object.entries(results.scenarios);
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>pod-identity-broker: benchmark</title>
<link rel="icon" href="data:,">
<style>${STYLE}</style>
<h1>pod-identity-broker: benchmark</h1>
<p class="quiet">${escaped(subjectLine(results))}</p>
<ul class="headlines">${scenarios
    .flatMap(([name, { headlines }]) =>
      headlines.map((text) => `<li><b>${escaped(name)}</b>${unbroken(escaped(text))}</li>`),
    )
    .join('')}</ul>
${scenarios
  .map(
    ([name, { shows, headlines, tables, charts }]) => `<section id="${escaped(name)}">
<h2>${escaped(name)}</h2>
<p class="quiet">${escaped(sentence(shows))}</p>
${tables.length === 0 ? headlines.map((text) => `<p>${escaped(sentence(text))}</p>`).join('') : ''}
${charts.map(figure).join('\n')}
${tables.map(table).join('\n')}
</section>`,
  )
  .join('\n')}
<section>
<h2>How this was measured</h2>
<p>Every answer was checked; a run that meets a wrong one shows no figures.</p>
${subject.traced ? '<p>The slowest requests, and one of each kind, span by span: <a href="trace.html">trace.html</a>.</p>' : ''}
<details><summary>machine, versions, configuration</summary>
<pre>${escaped(JSON.stringify({ subject, machine, config }, null, 2))}</pre></details>
</section>
</html>
`;
}

/** A figure stays on one line with its unit. */
function unbroken(text: string): string {
  return text.replace(/(\d) (?=%|ms\b|s\b|min\b|MiB\b)/g, '$1&nbsp;');
}

function figure(chart: Chart): string {
  const drawn = FRAMES.map((frame) =>
    chart.kind === 'lines' ? drawLines(chart, frame) : drawBars(chart, frame),
  );
  return `<figure><h3>${escaped(chart.title)}</h3>${legend(chart)}${drawn.join('')}</figure>`;
}

function legend(chart: Chart): string {
  if (chart.kind === 'bars' || chart.lines.length < 2) return '';
  const entries = chart.lines.map(
    ({ label, colour }) =>
      `<li class="${colour}"><svg viewBox="0 0 30 10" aria-hidden="true"><line x1="0" x2="30" y1="5" y2="5"/></svg>${escaped(label)}</li>`,
  );
  return `<ul class="legend">${entries.join('')}</ul>`;
}

function table({ title, columns, rows, notes = [] }: Table): string {
  const row = (cells: readonly string[], kind: 'th' | 'td') =>
    `<tr>${cells.map((cell) => `<${kind}>${escaped(cell)}</${kind}>`).join('')}</tr>`;
  return `<h4>${escaped(title)}</h4>
<div class="scroll"><table aria-label="${escaped(title)}">
<thead>${row(columns, 'th')}</thead><tbody>${rows.map((cells) => row(cells, 'td')).join('')}</tbody></table></div>
${notes.length === 0 ? '' : `<p class="quiet note">${escaped(notes.join(' '))}</p>`}`;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
