import type { Report, ReportArtifact, ReportStage } from './schema.ts';

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
