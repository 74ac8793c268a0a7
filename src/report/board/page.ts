import type { WatchedRun } from '../../train/watch.ts';
import { figures } from '../figures.ts';
import { formatBytes, formatPercent } from '../format.ts';
import { html, Markup } from '../markup.ts';
import type { Plots } from '../plots.ts';
import { styleSheet } from '../style.ts';

/** How a training stands. */
export interface Standing {
  readonly run: WatchedRun;
  /** Over the last seconds; undefined before there are any. */
  readonly imagesPerSecond: number | undefined;
  /** Resident memory of the process, bytes. */
  readonly memory: number;
  readonly ended: boolean;
}

/** Its own script and nothing from anywhere else. */
export const contentPolicy =
  "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; img-src data:";

/** Takes what the server sends in, until it ends. */
export const script = `const main = document.querySelector('main');
const source = new EventSource('events');
source.onmessage = ({ data }) => { main.innerHTML = JSON.parse(data); };
source.addEventListener('end', () => source.close());
source.onerror = () => { document.body.classList.toggle('lost', true); };
source.onopen = () => { document.body.classList.toggle('lost', false); };
`;

const ownStyle = `
#lost { display: none; max-width: 760px; margin: 0 auto; padding: 16px 16px 0; color: var(--bad); }
.lost #lost { display: block; }
progress { width: 100%; height: 8px; accent-color: var(--accent); margin-top: 12px; }
`;

/** The page as it is first sent: with what there is to show now, since that may be the end. */
export const boardPage = (title: string, content: Markup): string =>
  html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${new Markup(styleSheet + ownStyle)}</style>
</head>
<body>
<p id="lost" role="status">The training’s process does not answer any more. What stands here is what it said last.</p>
<main aria-live="off">
${content}
</main>
<script src="board.js" defer></script>
</body>
</html>
`.text;

/** Everything that changes. */
export function boardContent(standing: Standing | undefined, plots: Plots): Markup {
  if (!standing) return html`<header><h1>Nothing is being trained yet</h1></header>`;
  const { run, ended } = standing;
  const { steps, epochs } = run.history;
  const step = steps.at(-1)?.step ?? 0;
  return html`<header>
<p class="kicker">${run.name}</p>
<h1>${ended ? 'Trained' : 'Training'}: epoch ${Math.min(run.epochs, epochs.length + (ended ? 0 : 1))} of ${run.epochs}</h1>
<progress max="${run.totalSteps}" value="${step}" aria-label="Steps done"></progress>
</header>
${tiles(standing)}
${figures('Loss', 'Of each step (faint) and its running mean; below it the learning rate.', [plots.lossCurve(steps), plots.learningRate(steps)])}
${figures('Top-1', 'Share of images predicted right in each epoch: of the training images while they were trained on, and of those held out where that is measured.', [plots.accuracyOverEpochs(epochs)])}`;
}

function tiles({ run, imagesPerSecond, memory, ended }: Standing): Markup {
  const { steps, epochs } = run.history;
  const last = steps.at(-1);
  const left = run.totalSteps - (last?.step ?? 0);
  const seconds = imagesPerSecond ? (left * run.imagesAStep) / imagesPerSecond : undefined;
  const top1 = epochs.findLast((epoch) => epoch.top1 !== undefined)?.top1;
  const trainTop1 = epochs.at(-1)?.trainTop1;
  const tile = (label: string, value: string | undefined, below = '') =>
    value !== undefined &&
    html`<div class="tile"><span>${label}</span><b>${value}</b><span>${below}</span></div>`;
  return html`<div class="tiles">
${tile('loss', last?.loss.toFixed(4), last && `learning rate ${last.lr.toExponential(2)}`)}
${tile('top-1, held out', top1 === undefined ? undefined : formatPercent(top1), trainTop1 === undefined ? '' : `training ${formatPercent(trainTop1)}`)}
${tile('top-1, training', top1 === undefined && trainTop1 !== undefined ? formatPercent(trainTop1) : undefined)}
${tile('images a second', imagesPerSecond?.toFixed(imagesPerSecond < 10 ? 2 : 0), ended ? 'ended' : seconds === undefined ? '' : `${duration(seconds)} left`)}
${tile('memory', formatBytes(memory), `step ${last?.step ?? 0} of ${run.totalSteps}`)}
</div>`;
}

/** `45 s`, `12 min`, `3 h 05 min` */
function duration(seconds: number): string {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60
    ? `${minutes} min`
    : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
}
