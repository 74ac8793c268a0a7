import { validated } from '../../common/options.ts';
import type { GoneBranch } from '../../prune/branches.ts';
import type { PruningCheck } from '../../prune/check.ts';
import type { LatencyReport } from '../../prune/latency-budget.ts';
import type { GroupSummary } from '../../prune/prune.ts';
import { assertFullPrecision } from '../../quantize/record.ts';
import type { BlockShape } from '../../zoo/blocks-of.ts';
import { describeModel } from '../../zoo/describe.ts';
import { saveModel } from '../../zoo/save.node.ts';
import { localContext } from '../context.node.ts';
import { openModel } from '../open.node.ts';
import { prunedBy, pruneStage, writeRecord } from '../stages/prune.node.ts';
import {
  assertElsewhere,
  type CommandOptions,
  type ModelSize,
  openStageData,
  sizeOf,
} from './command.node.ts';

export interface PrunedModel {
  before: ModelSize;
  after: ModelSize;
  /** The shape of the first block, for people. */
  blocks: string;
  groups: GroupSummary[];
  /** How it compares with the model before; null with --no-check. */
  check: PruningCheck | null;
  /** Residual branches that went whole, in that order. */
  branches: GoneBranch[];
  /** With a latency to meet, or widths by latency. */
  latency?: LatencyReport;
  files: string[];
}

/**
 * Prunes a model and writes it.
 * @param output left out: no model is written, and the result says what it would be
 * @param input options of the stage
 */
export async function pruneModel(
  reference: string,
  output: string | undefined,
  input: unknown,
  command: CommandOptions & { data?: string },
): Promise<PrunedModel> {
  const options = validated(pruneStage.options, input);
  if (output !== undefined) assertElsewhere(reference, output);
  const context = localContext(command);
  const graph = await openModel(reference, command);
  assertFullPrecision(graph, 'prune');
  const before = sizeOf(graph);
  const data = await openStageData(pruneStage, options, graph, command);
  const pruned = await prunedBy({ context, graph, options, data });
  const record = output === undefined ? [] : [writeRecord(pruned, output)];
  const saved = output === undefined ? [] : saveModel(pruned.graph, output);
  if (saved.length === 1 && pruned.branches) {
    command.progress?.note(
      'without these branches it is no model that timm builds: it is written as ONNX only',
    );
  }
  const model = [...saved, ...record];
  const files = [...model, ...(options.saveScores === undefined ? [] : [options.saveScores])];
  const [block] = (await describeModel(pruned.graph)).blocks;
  const { groups, check = null, branches = [], latency } = pruned;
  const sizes = { before, after: sizeOf(pruned.graph), blocks: block ? sizesOf(block) : '' };
  return { ...sizes, groups, check, branches, ...(latency && { latency }), files };
}

/** What is known of a block's sizes, in words. */
function sizesOf({ embedDim, numHeads, headDim, mlpHidden }: BlockShape): string {
  return [
    ...(embedDim === null ? [] : [`embed ${embedDim}`]),
    ...(numHeads === null || headDim === null ? [] : [`heads ${numHeads} x ${headDim}`]),
    ...(mlpHidden === null ? [] : [`MLP ${mlpHidden}`]),
  ].join(', ');
}
