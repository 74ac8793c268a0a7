import type { z } from 'zod';
import { readText } from '../checkpoint/open.node.ts';
import type { OptionsSchema } from '../common/options.ts';
import type { Precision } from '../prune/latency-table.ts';
import { type Recipe, sharedByInt8 } from './recipe.node.ts';
import { fingerprint } from './run-directory.node.ts';
import { finetuneStage } from './stages/finetune.node.ts';
import { pruneStage } from './stages/prune.node.ts';
import { quantizeStage } from './stages/quantize.node.ts';
import type { Stage, StageInput, StageOutput } from './stages/stage.ts';

/** A stage with the options that a recipe gives it. */
export interface Step {
  readonly name: Stage['name'];
  /** What its result depends on beside the model that goes in. */
  readonly options: unknown;
  run(input: Omit<StageInput<unknown>, 'options'>): Promise<StageOutput>;
}

/** The model as it comes. */
const dense: Step = { name: 'dense', options: null, run: async ({ graph }) => ({ graph, files: [] }) };

/** What a recipe asks for, in order. */
export function stepsOf({ prune, finetune, quantize: { dtype, ...quantize } }: Recipe): Step[] {
  return [
    dense,
    ...step(pruneStage, prune && { ...prune, precision: prune.precision ?? shippedPrecision(dtype) }),
    ...step(finetuneStage, finetune && { ...finetune, ...trainedFor(finetune.qat ? quantize : {}) }),
    ...step(quantizeStage, dtype === 'fp32' ? undefined : { dtype, ...quantize }),
  ];
}

/** Whose latencies widths are chosen by, where that is not said. */
const shippedPrecision = (dtype: Recipe['quantize']['dtype']): Precision =>
  dtype === 'int8' ? 'int8' : 'fp32';

/** The int8 numbers that training is for: those that ship, where it is for any. */
const trainedFor = (quantize: Partial<Recipe['quantize']>) =>
  quantizeStage.options.pick(sharedByInt8).strip().parse(quantize);

function step<Schema extends OptionsSchema>(
  stage: Stage<Schema>,
  options: z.output<Schema> | undefined,
): Step[] {
  if (options === undefined) return [];
  const run: Step['run'] = ({ data, ...input }) =>
    stage.run({ ...input, options, data: stage.usesData(options) ? data : undefined });
  const contents = (stage.filesRead?.(options) ?? []).map((path) => fingerprint(readText(path)));
  return [{ name: stage.name, options: contents.length > 0 ? { ...options, contents } : options, run }];
}
