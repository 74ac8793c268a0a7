import type { Artifact } from '../export/export-file.node.ts';
import type { Accuracy } from '../measure/accuracy.ts';
import type { Latency } from '../measure/latency.node.ts';
import type { ModelSize } from '../pipeline/commands/command.node.ts';
import type { FinetunedModel, PreparedJob } from '../pipeline/commands/finetune.node.ts';
import type { PrunedModel } from '../pipeline/commands/prune.node.ts';
import type { QuantizedModel } from '../pipeline/commands/quantize.node.ts';
import type { GroupSummary } from '../prune/prune.ts';
import { quantizationFacts, quantizationTitle } from '../quantize/describe.ts';
import { formatBytes } from '../report/format.ts';
import { columns, count } from './columns.ts';
import { formatLatency } from './format-latency.ts';

export const gmacs = (macs: number) => `${(macs / 1e9).toPrecision(4)} GMACs`;

export function formatAccuracy(result: Accuracy): string {
  const skipped = result.skipped ? `, ${result.skipped} unreadable` : '';
  return [
    `top-1  ${(100 * result.top1).toFixed(2)} %`,
    `top-5  ${(100 * result.top5).toFixed(2)} %`,
    `loss   ${result.loss.toFixed(4)}`,
    `       ${count(result.samples)} images${skipped}, ${result.imagesPerSecond.toFixed(1)} images/s`,
  ].join('\n');
}

const summary = (size: ModelSize) => `${count(size.parameters)} parameters, ${gmacs(size.macs)}`;

export function formatPruned(
  { before, after, blocks, groups, latency, check, branches, files }: PrunedModel,
  folder: string | undefined,
): string {
  const share = (key: 'parameters' | 'macs') => `${(100 * (1 - after[key] / before[key])).toFixed(1)} %`;
  return [
    `before  ${summary(before)}`,
    `after   ${summary(after)}  (-${share('parameters')} parameters, -${share('macs')} MACs)`,
    ...(blocks ? [blocks] : []),
    ...(branches.length ? [branchTable(branches)] : []),
    ...(latency ? [formatLatency(latency)] : []),
    ...(check?.relative == null ? [] : [checked(check.relative, check.seconds)]),
    ...(folder === undefined && !latency ? [keptTable(groups)] : []),
    folder === undefined ? notWritten(files) : `in ${folder}`,
  ].join('\n');
}

const notWritten = (scores: readonly string[]): string =>
  scores.length > 0 ? `no model was written; scores in ${scores}` : 'nothing was written';

/** What went whole, and how far the outputs were from the whole model's with each. */
const branchTable = (branches: PrunedModel['branches']): string =>
  columns(
    ['branch gone', 'outputs changed'],
    branches.map(({ name, change }) => [name, `${(100 * change).toPrecision(3)} %`]),
  );

const checked = (relative: number, seconds: number): string =>
  `checked: the model with what went masked gives the same to ${relative.toExponential(0)} (${seconds.toFixed(1)} s)`;

/** What a plan keeps of each group. */
const keptTable = (groups: readonly GroupSummary[]): string =>
  columns(
    ['group', 'kind', 'units', 'kept'],
    groups.map(({ name, kind, units, kept }) => [name, kind, count(units), count(kept)]),
  );

export function formatFinetuned(result: FinetunedModel, folder: string): string {
  const top1 = result.top1 === null ? '' : `, top-1 ${(100 * result.top1).toFixed(2)} %`;
  return `${result.epochs} epochs, ${count(result.steps)} steps, loss ${result.loss.toFixed(4)}${top1}\nin ${folder}`;
}

export function formatPrepared({ prepared, command }: PreparedJob): string {
  return `the job is in ${prepared}; run it where the GPUs are:\n  ${command.join(' ')}\nand then this command again, with --resume in place of --prepare-only`;
}

export function formatQuantized(result: QuantizedModel, folder: string): string {
  return [
    `${quantizationTitle(result)}: weights ${formatBytes(result.before)} -> ${formatBytes(result.after)}`,
    ...quantizationFacts(result),
    `in ${folder}`,
  ].join('\n');
}

export function formatArtifact({ file, bytes, notes }: Artifact): string {
  return [`${file}  ${formatBytes(bytes)}`, ...notes].join('\n');
}

export function formatBench(results: readonly Latency[]): string {
  const first = results[0]?.median ?? Number.NaN;
  return columns(
    ['model', 'median', 'p95', 'speedup', 'peak memory'],
    results.map(({ model, median, p95, peakRssBytes }) => [
      model,
      `${median.toFixed(2)} ms`,
      `${p95.toFixed(2)} ms`,
      `${(first / median).toFixed(2)}x`,
      formatBytes(peakRssBytes),
    ]),
  );
}
