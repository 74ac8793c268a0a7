import { availableParallelism } from 'node:os';
import * as z from 'zod';
import { UserError } from '../common/errors.ts';
import { validated } from '../common/options.ts';
import { dataForms } from '../dataset/data-forms.ts';
import { dataOptions } from '../dataset/data-options.ts';
import { formats } from '../export/formats.node.ts';
import { int8Keys } from '../quantize/quantize.ts';
import { precisions } from '../quantize/record.ts';
import { withPreset } from '../train/presets.ts';
import { loadOptions } from '../zoo/load-options.ts';
import { finetuneStage } from './stages/finetune.node.ts';
import { pruneStage } from './stages/prune.node.ts';
import { quantizeStage } from './stages/quantize.node.ts';

const whole = (low: number) => z.number().int().min(low);

/** What a run begins with. */
export const sourceOptions = z.strictObject({
  model: z.string().meta({ description: 'folder, .onnx file, or checkpoint file with its architecture' }),
  ...loadOptions.shape,
  data: z.string().meta({ description: dataForms, value: 'data' }),
  ...dataOptions.shape,
});

/** What a run ends with, and how it runs. */
export const resultOptions = z.strictObject({
  formats: z
    .array(z.enum(formats.map(({ name }) => name)))
    .default(['onnx'])
    .meta({ description: 'files to write' }),
  compareBackends: z.boolean().default(false).meta({
    description: 'measure accuracy in fp16 and under every int8 backend and scheme too',
  }),
  maxDrop: z.number().min(0).optional().meta({
    description:
      'points of top-1 that may be lost: how much is pruned, and the number type, is searched on held-out training images, where nothing else says how much goes',
    value: 'points',
  }),
  targetBytes: whole(1)
    .optional()
    .meta({ description: 'bytes that the file may have, searched for likewise' }),
  searchSamples: whole(1)
    .default(2000)
    .meta({ description: 'held-out training images that a search measures on' }),
  evalSamples: whole(1).optional().meta({
    description: 'measure accuracy on only this many held-out images; left out: all',
  }),
  runs: whole(1).default(50).meta({ description: 'timed runs of each model' }),
  seed: whole(0).default(0).meta({ description: 'seed of everything random' }),
  threads: whole(1).optional().meta({ description: 'threads of the engine; left out: all processors' }),
});

const dtype = z
  .enum(['fp32', ...precisions])
  .default(quantizeStage.options.shape.dtype.def.defaultValue)
  .meta({ description: 'number type that ships; fp32: as it was trained', value: 'type' });

const epochs = whole(0).meta({ description: 'passes over the training images; 0: no finetuning' });

/** What a recipe says once, of the stage that makes the int8 numbers; training for them takes it from there. */
export const sharedByInt8 = { ...int8Keys, samples: true } as const;

/** The stages of a run in order, by their section of a recipe; those with a condition are done where it is met. */
export const stageSections = {
  prune: pruneStage.options,
  finetune: finetuneStage.options.omit(sharedByInt8).extend({ epochs }),
  quantize: quantizeStage.options.extend({ dtype }),
};

/** What each format can be told, of those that can be told something. */
export const exportSections = Object.fromEntries(
  formats
    .filter(({ options }) => Object.keys(options.shape).length > 0)
    .map(({ name, options }) => [name, options]),
);

/** Everything `pqv optimize` can be asked to do. */
export const recipeSchema = z.strictObject({
  ...sourceOptions.shape,
  prune: stageSections.prune.optional(),
  finetune: stageSections.finetune.optional(),
  quantize: stageSections.quantize.prefault({}),
  ...resultOptions.shape,
  export: z
    .strictObject(
      Object.fromEntries(Object.entries(exportSections).map(([name, schema]) => [name, schema.prefault({})])),
    )
    .prefault({}),
});

/** A recipe in which nothing is left open; kept in the run directory and the report. */
export type Recipe = z.output<typeof recipeSchema> & { threads: number };

/** What was written, with the options of its preset for finetuning. */
function presetFilled(input: unknown): unknown {
  const given = finetuningOf(input);
  return given ? { ...(input as object), finetune: withPreset(given) } : input;
}

/** What a recipe says of finetuning, unchecked. */
export function finetuningOf(input: unknown): Readonly<Record<string, unknown>> | undefined {
  const found = z.looseObject({ finetune: z.record(z.string(), z.unknown()) }).safeParse(input);
  return found.data?.finetune;
}

/**
 * A recipe from what was written: presets and defaults filled in, stages that do nothing left out.
 * @throws UserError naming the first option that is wrong, or options that contradict each other
 */
export function recipeOf(input: unknown): Recipe {
  const recipe = validated(recipeSchema, presetFilled(input));
  const { prune, finetune, quantize, threads = availableParallelism() } = recipe;
  if (finetune?.qat && quantize.dtype !== 'int8') {
    throw new UserError(`qat trains for int8, but what ships is ${quantize.dtype}: leave it out`);
  }
  if (
    ['fp16', 'int4'].includes(quantize.dtype) &&
    prune?.targetLatency !== undefined &&
    prune.precision === undefined
  ) {
    throw new UserError(
      `what ships is ${quantize.dtype}, whose latency no table is measured of: say by prune.precision (fp32 or int8) which to go by`,
    );
  }
  return { ...recipe, finetune: finetune?.epochs ? finetune : undefined, threads };
}
