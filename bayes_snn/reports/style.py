"""How a report looks: on a wide screen, on a phone, in the dark and in print."""

CSS = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1d2430; --faint: #a8b0ba; --soft: #f3f5f8; --rule: #d9dee5;
  --link: #1b5f95; --good: #1f7a4d; --fair: #9a6700; --bad: #b3372b;
  --line-1: #1b6ca8; --line-2: #c4512d; --line-3: #2f7d3b; --line-4: #7b4b94; --line-5: #a87900; --line-6: #5c5c5c; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181e; --ink: #e4e8ee; --faint: #5d6875; --soft: #1d232b;
  --rule: #343c47; --link: #8cc4f2; --good: #62c893; --fair: #e0b04a; --bad: #f08a7c;
  --line-1: #69b1ea; --line-2: #f0895f; --line-3: #7cc887; --line-4: #c79be0; --line-5: #e3bd4f; --line-6: #b5b5b5; } }
@media print { :root { color-scheme: light; --paper: #fff; --ink: #000; --faint: #999; --soft: #fff; --rule: #bbb;
  --link: #000; --good: #1f7a4d; --fair: #9a6700; --bad: #b3372b;
  --line-1: #1b6ca8; --line-2: #c4512d; --line-3: #2f7d3b; --line-4: #7b4b94; --line-5: #a87900; --line-6: #5c5c5c; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 74rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", "DejaVu Sans",
  sans-serif;
  overflow-wrap: anywhere; }
p, li { max-width: 46rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.3rem; line-height: 1.25; margin: 2.6rem 0 .6rem; padding-top: .7rem;
  border-top: 1px solid var(--rule); }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .3rem; }
.fit > h2 { font-size: 1.5rem; border-top: 3px solid var(--ink); margin-top: 3.5rem; }
.fit .part > h3 { font-size: 1.2rem; margin-top: 2.2rem; padding-top: .6rem; border-top: 1px solid var(--rule); }
a { color: var(--link); }
code { font: .92em ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.lead { color: var(--ink); opacity: .8; margin: 0 0 1rem; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: .6rem 0; padding: 0;
  max-width: none; }
.verdict { border-left: 5px solid var(--fair); background: var(--soft); padding: .7rem 1rem; margin: 1rem 0;
  max-width: 60rem; }
.verdict.good { border-color: var(--good); } .verdict.bad { border-color: var(--bad); }
.verdict p { margin: .2rem 0; max-width: none; }
.verdict strong { font-size: 1.1rem; }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 13rem), 1fr)); gap: .8rem;
  margin: 1rem 0; padding: 0; }
.numbers div { background: var(--soft); padding: .6rem .9rem; border-radius: 6px; }
.numbers dt { font-size: .88rem; opacity: .85; } .numbers dd { margin: 0; }
.numbers b { font-size: 1.6rem; font-variant-numeric: tabular-nums; display: block; line-height: 1.25; }
.numbers small { font-size: .85rem; opacity: .85; }
.wide { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .93rem; }
caption { text-align: left; font-size: .88rem; padding-bottom: .4rem; }
caption span { display: inline-block; position: sticky; left: 0; max-width: min(46rem, calc(100vw - 2rem));
  opacity: .85; }
tbody th { position: sticky; left: 0; background: var(--paper); }
th, td { padding: .32rem .8rem; border-bottom: 1px solid var(--rule); text-align: right; vertical-align: top;
  font-variant-numeric: tabular-nums; white-space: nowrap; overflow-wrap: normal; }
th { font-weight: 600; } th:first-child { text-align: left; }
table.pairs tbody th { white-space: normal; overflow-wrap: anywhere; min-width: 5rem; max-width: 20rem; }
table.pairs td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
table.fits td, table.fits thead th { white-space: normal; min-width: 8.8rem; max-width: 15rem;
  overflow-wrap: anywhere; }
tr.apart > * { border-top: 2px solid var(--rule); }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20.5rem), 1fr));
  gap: 1rem 1.6rem; margin: .8rem 0; align-items: end; }
.figures.four { grid-template-columns: repeat(auto-fill, minmax(min(100%, 16.4rem), 1fr)); }
.figures.pairs { grid-template-columns: repeat(auto-fill, minmax(min(100%, 20.5rem), 26rem)); }
.beside { display: flex; flex-wrap: wrap; gap: .6rem 3rem; align-items: flex-start; }
.beside > * { min-width: 0; max-width: 100%; } .beside > .figures { flex: 1 1 20.5rem; }
figure { margin: 0; max-width: 30rem; break-inside: avoid; page-break-inside: avoid; }
figure svg { display: block; width: 100%; height: auto; font-family: inherit; }
figcaption { font-size: .88rem; margin-bottom: .2rem; } figcaption b { font-weight: 600; }
.key { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; padding: 0; margin: .4rem 0;
  font-size: .9rem; }
.key i { display: inline-block; width: 1.6em; height: 0; border-top: .22em solid;
  vertical-align: .25em; margin-right: .4em; }
.missing { border-left: 5px solid var(--faint); padding: .3rem 1rem; background: var(--soft); }
@media (max-width: 40rem) { th, td { padding: .32rem .5rem; } tbody th { white-space: normal; max-width: 9.5rem; } }
@media print {
  @page { margin: 15mm; }
  html { font-size: 9.5pt; }
  body { padding: 0; max-width: none; }
  nav { display: none; }
  h2, h3 { break-after: avoid; page-break-after: avoid; }
  table { font-size: 8pt; } th, td, tbody th { padding: .2rem .4rem; white-space: normal; position: static; }
  table.fits td, table.fits thead th { min-width: 0; }
  tr, .wide, .verdict, .numbers { break-inside: avoid; page-break-inside: avoid; }
  .wide { overflow: visible; }
  .verdict, .numbers div, .missing { border: 1px solid var(--rule); }
  .figures, .figures.pairs, .figures.four { grid-template-columns: repeat(2, 1fr); }
  .fit { break-before: page; }
}
"""
