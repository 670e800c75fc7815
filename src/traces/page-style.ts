/** Of the page of traces; light or dark as the reader's system is. */
export const PAGE_STYLE = `
:root {
  color-scheme: light dark;
  --ground: #ffffff; --raised: #f6f7f9; --line: #dfe3e8; --ink: #1b2430; --faint: #5d6978;
  --server: #2f6fd6; --internal: #3f9384; --client: #a98bdc; --attempt: #6b3fc0; --failed: #cc3a31;
  --pause: #b97a08; --link: #1f5fc4; --target: #fff3cd; --shade: #1b243033;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #11151b; --raised: #191f27; --line: #2e3742; --ink: #e4e9f0; --faint: #9aa7b6;
    --server: #5d9bff; --internal: #55b8a6; --client: #5d4a86; --attempt: #b594f5; --failed: #ff6e65;
    --pause: #e0a53a; --link: #84b4ff; --target: #3a3414; --shade: #e4e9f033;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.5rem 1.25rem 4rem; max-width: 76rem;
  background: var(--ground); color: var(--ink);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2.25rem 0 .5rem; }
p { margin: .25rem 0 .75rem; color: var(--faint); }
a { color: var(--link); }
code, .mono { font: .86em/1.4 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.scroll {
  overflow-x: auto;
  /* A shade where there is more to the right; it is covered at the end. */
  background:
    linear-gradient(to left, var(--ground) 20px, transparent) right / 40px 100% no-repeat local,
    linear-gradient(to left, var(--shade), transparent) right / 16px 100% no-repeat scroll;
}
table.figures { border-collapse: collapse; min-width: 32rem; }
.figures th, .figures td { padding: .3rem .9rem .3rem 0; text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.figures th { color: var(--faint); font-weight: 500; font-size: .86rem; }
.figures td { border-top: 1px solid var(--line); }
.figures th:first-child, .figures td:first-child { text-align: left; }
.bad { color: var(--failed); font-weight: 600; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; padding: 0; margin: .5rem 0 0; list-style: none; color: var(--faint); font-size: .86rem; }
.legend i { display: inline-block; width: 1.1rem; height: .65rem; margin-right: .4rem; border-radius: 2px; }
.trace { border: 1px solid var(--line); border-radius: 8px; margin: .9rem 0; overflow: clip; scroll-margin-top: .5rem; }
.trace > header { display: flex; flex-wrap: wrap; align-items: baseline; gap: .2rem .9rem; padding: .6rem .8rem; background: var(--raised); border-bottom: 1px solid var(--line); }
.trace > header b { font-size: 1rem; }
.trace > header span { color: var(--faint); font-size: .86rem; overflow-wrap: anywhere; }
.trace > header span.bad { color: var(--failed); }
.grid { display: grid; grid-template-columns: minmax(9rem, 19rem) 1fr 5rem; column-gap: .8rem; align-items: center; padding: .22rem .8rem; }
.axis { color: var(--faint); font-size: .78rem; padding-top: .4rem; }
.axis div { display: flex; justify-content: space-between; font-variant-numeric: tabular-nums; }
details.span { scroll-margin-top: 4rem; border-top: 1px solid transparent; }
details.span > summary { list-style: none; cursor: pointer; }
details.span > summary::-webkit-details-marker { display: none; }
details.span > summary:hover, details.span[open] > summary { background: var(--raised); }
summary:focus-visible, a:focus-visible { outline: 2px solid var(--link); outline-offset: -2px; }
:target > summary, .trace:target > header { background: var(--target) !important; }
.name { overflow-wrap: anywhere; font-size: .92rem; line-height: 1.3; }
.name small { color: var(--failed); font-weight: 600; font-size: .8rem; }
.track { position: relative; height: 1.05rem; background: repeating-linear-gradient(90deg, var(--line) 0 1px, transparent 1px 25%); border-right: 1px solid var(--line); }
.track i { position: absolute; top: .15rem; bottom: .15rem; min-width: 3px; border-radius: 2px; }
.track i.part { top: .3rem; bottom: .3rem; }
.meaning { color: var(--faint); }
.track i.tick { top: 0; bottom: 0; border-radius: 1px; }
.server { background: var(--server); } .internal, .producer, .consumer { background: var(--internal); }
.client { background: var(--client); } .attempt { background: var(--attempt); }
.missed { background: var(--failed); } .pause, .tick { background: var(--pause); }
.took { text-align: right; font-variant-numeric: tabular-nums; font-size: .86rem; white-space: nowrap; }
.links { margin: 0; padding: 0 .8rem .35rem; font-size: .86rem; color: var(--faint); overflow-wrap: anywhere; }
.more { padding: .1rem .8rem .8rem; background: var(--raised); font-size: .86rem; }
.more dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .3rem 0; }
.more dt { color: var(--faint); } .more dd { margin: 0; overflow-wrap: anywhere; }
.more h4 { margin: .6rem 0 .1rem; font-size: .86rem; }
@media (max-width: 40rem) {
  body { padding: 1rem .75rem 3rem; }
  .grid { grid-template-columns: 1fr auto; padding: .3rem .6rem; }
  .track, .axis div { grid-column: 1 / -1; grid-row: 2; }
  .axis > :first-child { display: none; }
  .axis div { grid-row: 1; }
  .more dl { grid-template-columns: 1fr; } .more dd { margin: 0 0 .3rem .8rem; }
  table.figures { min-width: 0; font-size: .8rem; }
  .figures td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 6.5rem; }
  .figures th, .figures td { padding-right: .4rem; font-size: .8rem; } .figures th:last-child, .figures td:last-child { padding-right: 0; } .meaning { display: none; }
}
@media print { .trace { break-inside: avoid; } }
`;
