import { html, Markup } from '../../report/markup.ts';
import { styleSheet } from '../../report/style.ts';

const ownStyle = `
#device { display: grid; grid-template-columns: 1fr auto; gap: 12px; align-items: end; }
#device label { display: block; color: var(--muted); font-size: 13px; }
#device input { width: 100%; margin-top: 4px; padding: 10px 12px; border: 1px solid var(--axis); border-radius: 8px; background: var(--page); color: var(--text); font: inherit; }
button { padding: 11px 20px; border: 0; border-radius: 8px; background: var(--accent); color: var(--surface); font: inherit; font-weight: 600; cursor: pointer; }
button:disabled { opacity: 0.5; cursor: default; }
:is(button, input, select):focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
progress { width: 100%; height: 8px; accent-color: var(--accent); margin: 12px 0 0; }
#status { margin: 12px 0 0; min-height: 1.5em; color: var(--muted); font-size: 14px; overflow-wrap: anywhere; }
#status.bad { color: var(--bad); }
.facts { margin: 12px 0 0; padding: 0; list-style: none; color: var(--muted); font-size: 13px; }
.bars { display: grid; gap: 10px; margin: 0; padding: 0; list-style: none; font-size: 13px; }
.bars li { display: grid; grid-template-columns: 1fr auto; gap: 2px 12px; align-items: baseline; }
.bars b { font-variant-numeric: tabular-nums; }
.bars div { grid-column: 1 / -1; height: 10px; border-radius: 5px; background: var(--grid); overflow: hidden; }
.bars div i { display: block; height: 100%; min-width: 3px; border-radius: 5px; background: var(--accent); }
.bars .tflite div i { background: var(--second); }
.bars .wrong div i { background: repeating-linear-gradient(45deg, var(--bad) 0 4px, transparent 4px 8px); }
.bars .best b { color: var(--good); }
#results > .tiles { margin-top: 16px; }
.cells td:first-child { white-space: normal; }
.cells tbody th { padding-top: 18px; font-size: 15px; }
.cells tbody th small { display: block; overflow-wrap: anywhere; white-space: normal; }
tr.now > * { color: var(--accent); } tr.off > * { color: var(--muted); } tr.bad > * { color: var(--bad); }
tr.bad small { color: inherit; white-space: normal; overflow-wrap: anywhere; }
.try label { color: var(--muted); font-size: 13px; }
.try select { display: block; width: 100%; margin-top: 4px; padding: 10px 12px; border: 1px solid var(--axis); border-radius: 8px; background: var(--page); color: var(--text); font: inherit; font-size: 14px; }
.buttons { display: flex; flex-wrap: wrap; gap: 8px; margin-top: 12px; }
.try :is(button, .button) { padding: 9px 14px; border-radius: 8px; border: 1px solid var(--axis); background: none; color: var(--text); font-size: 14px; font-weight: 500; cursor: pointer; }
.button:focus-within { outline: 3px solid var(--accent); outline-offset: 2px; }
.button input { position: absolute; opacity: 0; width: 1px; height: 1px; }
.try video { display: block; width: 100%; max-height: 320px; margin-top: 12px; border-radius: 8px; background: #000; }
.try video[hidden] { display: none; }
.try p[role=status] { margin: 12px 0; min-height: 1.5em; color: var(--text); font-size: 14px; }
p.not { margin: 14px 0 0; }
.less { display: none !important; }
@media (max-width: 740px) { .more, .cells thead { display: none; } .less { display: block !important; } }
@media (prefers-reduced-motion: no-preference) { .bars i { transition: width 0.3s; } }
`;

/** The page as it is sent; all that changes is made by its script. */
export const labPage = (title: string): string =>
  html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}, lab</title>
<link rel="icon" href="data:,">
<style>${new Markup(styleSheet + ownStyle)}</style>
</head>
<body>
<main>
<header>
<p class="kicker">pqv lab</p>
<h1>${title}</h1>
</header>
<section>
<form id="device">
<label>This device<input name="name" maxlength="60" autocomplete="off" disabled></label>
<button disabled>Measure</button>
</form>
<progress max="1" value="0" aria-label="Done" hidden></progress>
<p id="status" role="status">Looking at this browser…</p>
<ul class="facts" id="facts"></ul>
</section>
<div id="try"></div>
<div id="results"></div>
<noscript><section><p>Measuring needs JavaScript.</p></section></noscript>
</main>
<script type="module" src="code/lab/page/main.js"></script>
</body>
</html>
`.text;
