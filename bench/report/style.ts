/** The report's style sheet: light and dark as the reader's system is, legible on a phone. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --page: #ffffff; --card: #f5f7fa; --text: #1a2330; --quiet: #566273; --line: #d5dce5;
  --service-account: #1d5fd1; --pod: #b45309; --token: #b4246b; --peer: #6d3fd0;
  --bare: #0f766e; --nginx: #64707f; --traced: #4d7c0f; --redis: #0a83a0; --limit: #b42318; --span: #e9b94933; --shade: #1a233033;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12171f; --card: #1b222d; --text: #e6ebf2; --quiet: #a3afbf; --line: #364152;
    --service-account: #6aa8ff; --pod: #f2b04b; --token: #f47fb4; --peer: #b79bff;
    --bare: #3fd0bd; --nginx: #a2aebd; --traced: #a9d65c; --redis: #55c8e6; --limit: #ff8a7a; --span: #f2b04b26; --shade: #e6ebf233;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 24px 20px 64px; max-width: 940px; background: var(--page);
  color: var(--text); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; margin: 0 0 .2rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p { margin: .3rem 0; }
.quiet { color: var(--quiet); }
section { margin-top: 2.6rem; padding-top: 1.4rem; border-top: 1px solid var(--line); }
.headlines { list-style: none; margin: 1.2rem 0 0; padding: 0; display: grid; gap: 10px; }
.headlines li { background: var(--card); border-radius: 8px; padding: 10px 14px; }
.headlines b { display: block; font-size: .82rem; color: var(--quiet); font-weight: 600; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 .3rem; padding: 0; list-style: none; font-size: .88rem; }
.legend svg { width: 30px; height: 10px; vertical-align: middle; margin-right: 6px; }
figure { margin: 0; }
svg.chart { display: block; width: 100%; height: auto; }
svg.narrow { display: none; }
svg text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: var(--quiet); }
svg text.axis-name { fill: var(--quiet); font-style: italic; }
svg text.value, svg text.group-name { fill: var(--text); }
svg text.group-name { font-weight: 600; font-size: 13px; }
svg text.limit-name { fill: var(--limit); }
svg text.span-name { fill: var(--text); }
svg text.limit-name, svg text.span-name { stroke: var(--page); stroke-width: 4; stroke-linejoin: round; paint-order: stroke; }
.grid { stroke: var(--line); stroke-width: 1; }
.axis { stroke: var(--quiet); stroke-width: 1; }
.limit { stroke: var(--limit); stroke-width: 1.5; stroke-dasharray: 2 4; }
.span { fill: var(--span); }
.series polyline, .legend line { fill: none; stroke: var(--c); stroke-width: 2.5; stroke-linejoin: round; }
.series circle { fill: var(--c); stroke: var(--page); stroke-width: 1.5; }
.bar { fill: var(--c); }
.service-account, .broker { --c: var(--service-account); }
.pod { --c: var(--pod); }
.token { --c: var(--token); }
.peer { --c: var(--peer); }
.traced { --c: var(--traced); }
.redis { --c: var(--redis); }
.bare { --c: var(--bare); }
.nginx { --c: var(--nginx); }
.series.pod polyline, .legend .pod line { stroke-dasharray: 13 4; }
.series.token polyline, .legend .token line { stroke-dasharray: 7 5; }
.series.redis polyline, .legend .redis line { stroke-dasharray: 14 4 3 4; }
.series.peer polyline, .legend .peer line { stroke-dasharray: 2 4; }
.series.bare polyline, .legend .bare line { stroke-dasharray: 5 3; }
.series.nginx polyline, .legend .nginx line { stroke-dasharray: 18 4; }
.scroll {
  overflow-x: auto;
  /* A shade where there is more to the right; it is covered at the end. */
  background:
    linear-gradient(to left, var(--page) 20px, transparent) right / 40px 100% no-repeat local,
    linear-gradient(to left, var(--shade), transparent) right / 16px 100% no-repeat scroll;
}
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; margin: .3rem 0; }
th, td { text-align: right; padding: 5px 6px; border-bottom: 1px solid var(--line); white-space: nowrap; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; padding-left: 0; white-space: normal; min-width: 10rem; }
th { color: var(--quiet); font-weight: 600; white-space: normal; }
h4 { font-size: .95rem; margin: 1.6rem 0 .2rem; }
.note { font-size: .86rem; }
details { margin-top: 1rem; }
summary { cursor: pointer; color: var(--quiet); }
pre { background: var(--card); padding: 12px; border-radius: 8px; overflow-x: auto; font-size: .8rem; }
@media (max-width: 640px) {
  body { padding: 18px 16px 48px; }
  svg.wide { display: none; }
  svg.narrow { display: block; }
  h1 { font-size: 1.4rem; }
  table { font-size: .8rem; }
  th, td { padding: 5px 4px; }
  th:first-child, td:first-child { position: sticky; left: 0; background: var(--page); min-width: 7.5rem; max-width: 7.5rem; }
}
`;
