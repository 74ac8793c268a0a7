import { formatMilliseconds, formatSpeedup } from './format.ts';
import type { Report, ReportArtifact, ReportBackend, ReportStage } from './schema.ts';

/** A stage with what only its neighbours tell. */
export interface StageRow {
  readonly stage: ReportStage;
  /** `dense`, `pruned`, `finetuned`, and the quantized one by its precision: `int8`. */
  readonly name: string;
  /** Median latency of the dense model over this one's. */
  readonly speedup: number | undefined;
  /** Top-1 minus that of the dense model. */
  readonly top1Change: number | undefined;
}

/** The stages of a report in order. */
export function stageRows(report: Report): StageRow[] {
  const dense = report.stages.find(({ stage }) => stage === 'dense');
  return report.stages.map((stage) => ({
    stage,
    name: stage.stage === 'quantized' ? stage.precision : stage.stage,
    speedup:
      stage.speedup ??
      (dense?.latencyMs && stage.latencyMs ? dense.latencyMs.median / stage.latencyMs.median : undefined),
    top1Change:
      dense?.top1 === undefined || stage.top1 === undefined || stage === dense
        ? undefined
        : stage.top1 - dense.top1,
  }));
}

/** What a run achieved: its last stage against the dense model. Undefined when there is nothing to compare. */
export interface Outcome {
  readonly dense: ReportStage;
  readonly final: StageRow;
  /** Size of the dense model over the final one's. */
  readonly smaller: number;
}

export function outcome(report: Report): Outcome | undefined {
  const rows = stageRows(report);
  const dense = rows.find(({ stage }) => stage.stage === 'dense')?.stage;
  const final = rows.at(-1);
  if (!dense || !final || final.stage === dense) return undefined;
  return { dense, final, smaller: dense.bytes / final.stage.bytes };
}

/** A lower precision beside the model it was made from. */
export interface BackendRow {
  readonly entry: ReportBackend;
  /** `fp16`, or scheme and backend: `dynamic, mlas`. */
  readonly name: string;
  /** Top-1 minus that of the float32 model. */
  readonly top1Change: number | undefined;
}

/** The last float32 stage, from which every lower precision is made. */
export const trainedStage = (report: Report): ReportStage | undefined =>
  report.stages.findLast(({ precision }) => precision === 'fp32');

/** Where a lower precision took no less time than the float32 model it was made from: what it took, in words. */
export function notFaster(report: Report): string | undefined {
  const [before, after] = [trainedStage(report), report.stages.at(-1)];
  if (!before?.latencyMs || !after?.latencyMs || after.precision === 'fp32') return undefined;
  const [float, lower] = [before.latencyMs.median, after.latencyMs.median];
  if (lower < float) return undefined;
  const { processorClass } = report.machine;
  const where = processorClass ? ` (${processorClass})` : '';
  const took = `${formatMilliseconds(lower)} against ${formatMilliseconds(float)}`;
  const size = `its file is ${(after.bytes / before.bytes).toFixed(2)} of the size`;
  return `${after.precision} is not faster than fp32 on this machine${where}: ${took}, ${formatSpeedup(float / lower)}; ${size}`;
}

/** The backend comparison of a report in order; none when it was not asked for. */
export function backendRows(report: Report): BackendRow[] {
  const top1 = trainedStage(report)?.top1;
  return (report.backends ?? []).map((entry) => ({
    entry,
    name: [entry.scheme, entry.backend].filter((part) => part !== undefined).join(', ') || entry.dtype,
    top1Change: top1 === undefined ? undefined : entry.top1 - top1,
  }));
}

/**
 * The file to ship: the one marked so, else the `.onnx` one, which every ONNX Runtime loads, else the
 * first.
 */
export function artifactToShip(report: Report): ReportArtifact | undefined {
  const { artifacts } = report;
  return (
    artifacts.find(({ ship }) => ship) ?? artifacts.find(({ format }) => format === 'onnx') ?? artifacts[0]
  );
}
