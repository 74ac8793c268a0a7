/** The report's whole style sheet; plots use its variables. */
export const styleSheet = `
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --surface: #ffffff; --text: #1a2028; --muted: #67707c; --grid: #e6e9ed; --axis: #c3c9d1;
  --accent: #1668c7; --second: #c2710c; --good: #18794e; --bad: #b3261e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #11151a; --surface: #1a2027; --text: #e8ecf1; --muted: #98a3b0; --grid: #2a323c; --axis: #465160;
    --accent: #62a8f5; --second: #e8a34d; --good: #5cc596; --bad: #f2857c;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; -webkit-text-size-adjust: 100%; }
main { max-width: 760px; margin: 0 auto; padding: 32px 16px 48px; }
header { margin-bottom: 20px; }
.kicker { margin: 0; color: var(--muted); font-size: 13px; overflow-wrap: anywhere; }
h1 { margin: 4px 0 0; font-size: clamp(22px, 5vw, 30px); line-height: 1.2; letter-spacing: -0.015em; text-wrap: balance; }
h2 { margin: 0 0 4px; font-size: 17px; letter-spacing: -0.005em; }
section { background: var(--surface); border: 1px solid var(--grid); border-radius: 12px; padding: 20px; margin-top: 16px; }
section > p { margin: 0 0 14px; color: var(--muted); font-size: 13.5px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(155px, 1fr)); gap: 12px; }
.tile { background: var(--surface); border: 1px solid var(--grid); border-radius: 12px; padding: 14px 16px; }
.tile b { display: block; font-size: 23px; line-height: 1.25; letter-spacing: -0.01em; font-variant-numeric: tabular-nums; }
.tile span { display: block; color: var(--muted); font-size: 13px; }
.scroll { overflow-x: auto; margin: 0 -20px; padding: 0 20px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 8px 0 8px 16px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--grid); }
th:first-child, td:first-child { text-align: left; padding-left: 0; padding-right: 4px; }
thead th { color: var(--muted); font-weight: 500; font-size: 13px; }
tbody th { font-weight: 600; }
tbody tr:last-child > * { border-bottom: 0; }
th small, td small { display: block; font-weight: 400; color: var(--muted); font-size: 12px; }
.sideways { overflow-x: auto; }
.advice { margin: 0 0 14px; padding: 0; list-style: none; font-size: 14px; }
.advice li + li { margin-top: 6px; }
.devices :is(thead th, tbody th, tbody th small) { white-space: normal; } .devices :is(thead, tbody) th:first-child { min-width: 130px; }
.devices thead th { vertical-align: bottom; min-width: 76px; } .devices tbody > tr > * { vertical-align: top; }
.sideways + dl { margin-top: 16px; font-size: 13px; }
tr.best > * { color: var(--accent); }
.good { color: var(--good); } .bad { color: var(--bad); }
.narrow { display: none; }
figure { margin: 0; }
figure + figure { margin-top: 12px; } figure + .scroll { margin-top: 16px; }
figure svg { display: block; max-width: 100%; height: auto; color: var(--muted); }
.samples { display: grid; grid-template-columns: repeat(auto-fill, minmax(86px, 1fr)); gap: 12px; margin: 0; padding: 0; list-style: none; }
.samples li { min-width: 0; font-size: 13px; line-height: 1.35; }
.samples img, .samples .blank { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; border-radius: 8px; background: var(--grid); margin-bottom: 5px; border: 2px solid var(--grid); }
.samples .wrong img, .samples .wrong .blank { border-color: var(--bad); }
.samples b, .samples span { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.samples span { color: var(--muted); font-size: 12px; }
.artifacts { list-style: none; margin: 0; padding: 0; }
.artifacts li { display: grid; grid-template-columns: 1fr auto; gap: 0 16px; padding: 10px 0; border-bottom: 1px solid var(--grid); }
.artifacts li:last-child { border-bottom: 0; padding-bottom: 0; }
.artifacts code { overflow-wrap: anywhere; }
.artifacts span { color: var(--muted); font-size: 13px; grid-column: 1; }
.artifacts data { font-variant-numeric: tabular-nums; white-space: nowrap; }
.badge { display: inline-block; margin-left: 8px; padding: 0 8px; border-radius: 99px; background: var(--accent); color: var(--surface); font-size: 12px; font-weight: 600; }
code { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 20px; margin: 0; font-size: 14px; }
dt { color: var(--muted); } dd { margin: 0; overflow-wrap: anywhere; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 14px; padding: 0; list-style: none; font-size: 13px; color: var(--muted); }
.legend li { display: flex; align-items: center; gap: 6px; } .legend .chip { min-width: 12px; height: 12px; padding: 0; }
.residual { --group: var(--accent); } .channels { --group: var(--good); } .headDims { --group: var(--second); } .heads { --group: var(--muted); }
.chip { display: inline-block; min-width: 26px; padding: 0 6px; border-radius: 99px; background: var(--group); color: var(--surface); font-size: 12px; line-height: 20px; font-weight: 600; text-align: center; text-decoration: none; font-variant-numeric: tabular-nums; }
a.chip:hover, a.chip:focus-visible, summary:focus-visible { outline: 2px solid var(--text); outline-offset: 2px; }
.groups details { border-top: 1px solid var(--grid); scroll-margin-top: 12px; } .groups details:target { background: color-mix(in srgb, var(--accent) 9%, transparent); }
.groups summary { display: grid; grid-template-columns: max-content minmax(0, 1fr) max-content max-content; gap: 2px 12px; align-items: center; padding: 10px 0; cursor: pointer; list-style: none; font-size: 14px; }
.groups summary::-webkit-details-marker { display: none; }
.groups summary b { overflow-wrap: anywhere; } .groups summary > span:not(.chip, .share) { color: var(--muted); font-size: 13px; }
.groups data { min-width: 84px; text-align: right; font-variant-numeric: tabular-nums; }
.groups data::after { content: ' \\25b8'; color: var(--muted); } .groups [open] data::after { content: ' \\25be'; }
.share { position: relative; grid-column: 1 / -1; height: 6px; border-radius: 3px; background: var(--grid); overflow: hidden; }
.share i { position: absolute; inset: 0 auto 0 0; background: var(--group); } .share i:first-child { opacity: 0.4; }
.groups dl { padding: 2px 0 14px 38px; font-size: 13px; } .groups dd code { display: inline-block; margin-right: 6px; font-size: 12px; overflow-wrap: anywhere; }
.sides :is(th, td) { white-space: normal; overflow-wrap: anywhere; padding-top: 6px; padding-bottom: 6px; } .sides td { min-width: 64px; } .sides td > * + * { margin-left: 4px; }
.sides tbody th { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; } .stays { color: var(--muted); font-size: 13px; }
footer { margin-top: 20px; color: var(--muted); font-size: 13px; }
@media (max-width: 740px) {
  .wide { display: none; } .narrow { display: block; }
  main { padding-top: 20px; }
  section { padding: 16px; } .scroll { margin: 0; padding: 0; overflow: visible; }
  .tiles { grid-template-columns: 1fr 1fr; gap: 8px; }
  .tile { padding: 12px; } .tile b { font-size: 20px; }
  table:not(.stacked) { font-size: 13px; } table:not(.stacked) tbody th { font-weight: 500; } table:not(.stacked) :is(th, td) + :is(th, td) { padding-left: 8px; }
  .stacked thead { display: none; }
  .stacked, .stacked tbody { display: block; }
  .stacked tbody tr { display: grid; grid-template-columns: 1fr 1fr; column-gap: 20px; padding: 12px 0; border-bottom: 1px solid var(--grid); }
  .stacked tbody tr:first-child { padding-top: 0; }
  .stacked tbody tr:last-child { border-bottom: 0; padding-bottom: 0; }
  .stacked tbody th { grid-column: 1 / -1; position: static; padding: 0 0 4px; border: 0; font-size: 15px; }
  .stacked tbody th small { display: inline; margin-left: 8px; }
  .stacked tbody td { display: flex; justify-content: space-between; align-items: baseline; gap: 6px; padding: 2px 0; border: 0; }
  .stacked tbody td::before { content: attr(data-label); color: var(--muted); font-size: 13px; }
  .stacked tbody td small { display: none; }
}
@media (max-width: 560px) {
  .groups summary { grid-template-columns: max-content minmax(0, 1fr) max-content; } .groups summary > span:not(.chip, .share) { grid-column: 2; grid-row: 2; } .groups data { grid-row: 1; grid-column: 3; }
  .groups dl { padding-left: 0; grid-template-columns: 1fr; gap: 2px; } .groups dt { margin-top: 6px; }
}
@media print { body { background: none; } section, .tile { break-inside: avoid; } }
`;
