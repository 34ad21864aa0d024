"""How the report looks and what moves in it: the page's style sheet and script, both inline."""

from __future__ import annotations

# Plotly writes colours into style attributes; the page's own win (!important), so plots follow the colour scheme.
STYLE = """
:root { color-scheme: light dark; --ground: #fcfcfb; --card: #ffffff; --ink: #1d1f23; --soft: #5a5f68; --line: #e2e4e8;
  --blue: #2a6fc9; --bad: #b3261e; --good: #1a7f5f; --shade: 57,135,229; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #141619; --card: #1b1e22; --ink: #e8e9ec; --soft: #a3a8b2; --line: #31353c;
    --blue: #7fb2f5; --bad: #ff8a80; --good: #5fd0a8; }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, "Noto Sans", sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 1.5rem clamp(1rem, 4vw, 2.5rem) 4rem; }
nav { max-width: 66rem; margin: 0 auto; padding: 1rem clamp(1rem, 4vw, 2.5rem) 0; font-size: .875rem; }
nav ol { margin: .5rem 0 0; padding: 0; list-style: none; display: flex; flex-wrap: wrap; gap: .25rem .9rem; }
nav a { color: var(--soft); text-decoration: none; }
nav a:hover, nav a:focus-visible { color: var(--blue); text-decoration: underline; }
nav summary { color: var(--soft); cursor: pointer; }
@media (min-width: 80rem) {
  body { display: grid; grid-template-columns: 15rem minmax(0, 68rem) 1fr; }
  nav { position: sticky; top: 0; align-self: start; max-height: 100vh; overflow-y: auto; margin: 0;
    padding: 2.1rem 0 2rem 2rem; }
  nav ol { display: block; }
  nav li { margin: 0 0 .4rem; line-height: 1.35; }
  main { margin: 0; max-width: none; }
}
h1 { margin: 0 0 .35rem; font-size: clamp(1.5rem, 5vw, 2.1rem); line-height: 1.15; letter-spacing: -.02em;
  overflow-wrap: anywhere; }
h2 { margin: 0 0 .5rem; font-size: 1.3rem; line-height: 1.25; letter-spacing: -.01em; }
h3 { margin: 1.75rem 0 .5rem; font-size: 1rem; }
section { margin-top: 3rem; padding-top: 1.5rem; border-top: 1px solid var(--line); }
p { margin: .25rem 0 .85rem; max-width: 70ch; overflow-wrap: break-word; }
header p, .lead { color: var(--soft); }
.missing { color: var(--soft); border-left: 3px solid var(--line); padding: .2rem 0 .2rem .8rem; }
a { color: var(--blue); }
.state { display: inline-block; margin: 0 0 .9rem; padding: .12rem .65rem; border-radius: 1rem; font-size: .8125rem;
  font-weight: 600; color: var(--good); border: 1px solid currentColor; }
.state.partial { color: var(--blue); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1.1rem 0 0; }
.facts div { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .7rem .85rem .75rem; }
.facts b { display: block; font-size: 1.45rem; line-height: 1.2; letter-spacing: -.02em; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
.facts small { line-height: 1.35; }
.facts meter { display: block; width: 100%; height: .4rem; margin: .45rem 0 .1rem; border: 0; border-radius: 1rem;
  background: var(--line); appearance: none; overflow: hidden; }
.facts meter::-webkit-meter-bar { background: var(--line); border: 0; border-radius: 1rem; height: .4rem; }
.facts meter::-webkit-meter-optimum-value { background: var(--blue); border-radius: 1rem; }
.facts meter::-moz-meter-bar { background: var(--blue); }
figure { margin: 1.1rem 0 1.4rem; }
figure.square { max-width: 46rem; }
dl { margin: .75rem 0; font-size: .875rem; line-height: 1.5; }
dt { font-weight: 600; margin-top: .6rem; overflow-wrap: anywhere; }
dd { margin: 0; color: var(--soft); max-width: 85ch; overflow-wrap: anywhere; }
figcaption, .caption { color: var(--soft); font-size: .875rem; max-width: 75ch; text-align: left; }
figcaption { margin-top: .35rem; }
.caption { margin: 1.25rem 0 0; }
.caption + .scroll { margin-top: .35rem; }
.scroll { overflow-x: auto; margin: .75rem 0 1.25rem; }
.scroll:focus-visible { outline: 2px solid var(--blue); outline-offset: 3px; }
table { border-collapse: collapse; min-width: 100%; font-size: .875rem; line-height: 1.4; font-variant-numeric: tabular-nums; }
th, td { padding: .42rem .65rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; font-size: .8125rem; }
th:first-child, td:first-child { padding-left: 0; position: sticky; left: 0; z-index: 1; background: var(--ground); }
td:first-child { min-width: 6.5rem; }
.n { text-align: right; }
td.n { white-space: nowrap; }
td.name { min-width: 8.5rem; max-width: 17rem; overflow-wrap: anywhere; font-weight: 600; }
td.long { min-width: 15rem; overflow-wrap: anywhere; }
tr.first td { border-top: 2px solid var(--soft); }
td.tint { background: rgba(var(--shade), var(--a, 0)); text-align: right; white-space: nowrap; }
small { display: block; color: var(--soft); font-size: .8125rem; font-weight: 400; }
.over { color: var(--bad); }
details { margin: .75rem 0 1rem; }
nav details { margin: 0; }
summary { cursor: pointer; color: var(--blue); font-size: .9375rem; }
pre, code { font: .8125rem/1.55 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre { overflow-x: auto; padding: .85rem 1rem; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem .5rem; margin: .25rem 0 .75rem; }
.legend button { font: inherit; font-size: .8125rem; color: var(--ink); background: none; border: 0;
  border-radius: .25rem; padding: .2rem .4rem; cursor: pointer; }
.legend button:hover { background: var(--line); }
.legend button[aria-pressed=false] { opacity: .4; text-decoration: line-through; }
.legend span { display: inline-block; width: 1.2em; text-align: center; }
.main-svg .xtick text, .main-svg [class*=ytick] text, .main-svg [class*=xtick] text, .main-svg [class*=title],
.main-svg .legendtext, .main-svg .annotation-text { fill: var(--soft) !important; }
.textpoint text, .bartext, .heatmap-label text { fill: var(--ink) !important; }
.gridlayer path { stroke: var(--line) !important; }
.scatterlayer .point[style*="rgb(255, 255, 255)"] { stroke: var(--ground) !important; }
.hoverlayer .hovertext path { fill: var(--card) !important; stroke: var(--soft) !important; }
.hoverlayer .hovertext text { fill: var(--ink) !important; }
.plot .modebar-container { opacity: 0; transition: opacity .15s; }
.plot:hover .modebar-container, .plot:focus-within .modebar-container { opacity: 1; }
@media (hover: none) { .plot .modebar-container { display: none; } }
@media (max-width: 40rem) {
  body { font-size: 15px; }
  section { margin-top: 2.25rem; }
  .facts { grid-template-columns: 1fr 1fr; }
  .facts div:last-child:nth-child(odd) { grid-column: 1 / -1; }
  td.name { min-width: 7rem; max-width: 9.5rem; }
}
@media print { nav, .modebar-container { display: none; } section { break-inside: avoid; } }
"""

# The front's legend is part of the page, not of the plot, so that it wraps at any width; its buttons hide and show layers.
SCRIPT = """
const CONFIG = { responsive: true, displaylogo: false, plotlyServerURL: "",
  modeBarButtonsToRemove: ["sendChartToCloud", "select2d", "lasso2d"] };
for (const source of document.querySelectorAll("[data-plot]")) {
  const at = document.getElementById(source.dataset.plot);
  const { data, layout } = JSON.parse(source.textContent);
  Plotly.newPlot(at, data, layout, CONFIG).then(() => { at.dataset.drawn = "yes"; });
}
for (const button of document.querySelectorAll("[data-traces]")) {
  button.addEventListener("click", () => {
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", shown);
    Plotly.restyle(button.dataset.of, { visible: shown }, JSON.parse(button.dataset.traces));
  });
}
if (matchMedia("(max-width: 79.99rem)").matches) document.querySelector("nav details").open = false;
"""
