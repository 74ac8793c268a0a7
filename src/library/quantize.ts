import * as z from 'zod';
import { UserError } from '../common/errors.ts';
import { validated } from '../common/options.ts';
import { type Progress, silent } from '../common/progress.ts';
import type { Dataset } from '../dataset/dataset.ts';
import type { Graph } from '../graph/graph.ts';
import { dropKinds } from '../measure/predictions.ts';
import { foldNorms } from '../optimize/fold-norms.ts';
import { quantizationWarning } from '../quantize/describe.ts';
import { int4Grid } from '../quantize/int4.ts';
import { int8Grid } from '../quantize/migrate.ts';
import { prepare } from '../quantize/prepare.ts';
import { calibrates, quantizeOptions, quantize as quantizePass } from '../quantize/quantize.ts';
import { quantization, recordQuantization } from '../quantize/record.ts';
import { selfCheck } from '../quantize/self-check.ts';
import { assertLoads } from '../runtime/loads.ts';
import type { Engine } from '../runtime/session.ts';
import { heldBatches, learnRecorded } from '../train/rounding/learn-recorded.ts';
import { remember } from '../zoo/model-info.ts';
import { quantizeWithin } from './max-drop.ts';
import { type LabelledImages, samplesOption, someImages } from './stage-data.ts';
import type { Surroundings } from './surroundings.ts';

const presets = ['fast', 'accurate'] as const;

/** The lower precision a model is given. */
export const quantizeModelOptions = quantizeOptions.extend({
  samples: samplesOption(128, 'training images that static ranges, and overflows of FP16, are found on'),
  force: z
    .boolean()
    .default(false)
    .meta({ description: 'write the model even if it has collapsed: what it gives is far from FP32' }),
  preset: z.enum(presets).default('fast').meta({
    description:
      'int8: fast, or accurate: migrate and correct-bias, found on the images of --data, without them on noise',
    value: 'name',
  }),
  migrate: z.boolean().optional().meta({
    description:
      'int8, int4: scale large channels of norms into the weights that read them; the same model in float32',
  }),
  correctBias: z.boolean().optional().meta({
    description: 'int8, int4: take from the biases what outputs are off on the average',
  }),
  learnRounding: z.boolean().default(false).meta({
    description:
      'int8, int4: learn, layer by layer on the images of --data, which of the two numbers beside it each weight of a linear layer becomes',
  }),
  learnSteps: z.number().int().min(1).default(200).meta({
    description: 'steps of learn-rounding, for each layer',
  }),
  learnSamples: z.number().int().min(1).default(256).meta({
    description: 'training images of learn-rounding, without their labels',
  }),
  maxDrop: z.number().min(0).optional().meta({
    description:
      'int8: points that may be lost against FP32; the layers that suffer most stay in float32 until that holds',
    value: 'points',
  }),
  dropOf: z.enum(dropKinds).default('top1').meta({
    description: 'what max-drop is of: right answers, or (needs no labels) answers that are those of FP32',
    value: 'what',
  }),
  dropSamples: z.number().int().min(1).default(500).meta({
    description: 'held-out images that max-drop is measured on',
  }),
});

type Input = z.input<typeof quantizeModelOptions>;
type Settings = z.output<typeof quantizeModelOptions>;

/** Whether images are looked at, where there are some. */
export const looksAtImages = (options: Settings): boolean =>
  calibrates(options) ||
  options.learnRounding ||
  options.maxDrop !== undefined ||
  Object.values(preparations(options)).some(Boolean);

/** What a preset says, where nothing is said. */
const preparations = ({ dtype, preset, migrate, correctBias }: Settings) => {
  const asked = preset === 'accurate' && dtype === 'int8';
  return { migrate: migrate ?? asked, correctBias: correctBias ?? asked };
};

/** The lower precision a model is given: the options of `pqv quantize`. */
export interface QuantizeModelOptions extends Input, Omit<Surroundings, 'threads'> {
  /** What static ranges, overflows of FP16 and drops are found on. */
  data?: Dataset | LabelledImages;
}

/**
 * A copy of a model in a lower precision: int8 with activation ranges found at run time (`dynamic`) or by
 * calibration (`static`), weights of four bits (`int4`), or FP16.
 *
 * @example
 * ```js
 * const int8 = await quantize(engine, model, {});
 * const calibrated = await quantize(engine, model, { scheme: 'static', data });
 * const half = await quantize(engine, model, { dtype: 'fp16' });
 * ```
 * On noise, and on its weights, what comes out is compared with what went in; what one should know of that is said.
 *
 * @throws UserError on a wrong option, a model that is quantized already, static ranges without data, when the
 *   engine does not load what comes out, when that is of no use (but for `force`), or `maxDrop` can't be held
 */
export async function quantize(
  engine: Engine,
  model: Graph,
  { data, seed, progress = silent, ...input }: QuantizeModelOptions = {},
): Promise<Graph> {
  const given = validated(quantizeModelOptions, input);
  const { samples, force, maxDrop, dropOf, dropSamples, preset: _, ...others } = given;
  const { learnRounding, learnSteps, learnSamples, ...rest } = others;
  const { migrate, correctBias, ...options } = { ...rest, ...preparations(given) };
  if (options.dtype === 'fp16' && (migrate || correctBias || learnRounding)) {
    throw new UserError(
      'migrate, correct-bias and learn-rounding are for int8 and int4: leave them out with fp16',
    );
  }
  if (learnRounding && !data) throw new UserError('learn-rounding needs images (--data)');
  const images =
    data && looksAtImages(given) ? someImages(engine, model, data, samples, { seed, progress }) : undefined;
  const source = options.dtype !== 'fp16' ? await foldNorms(engine, model) : model;
  const grid = options.dtype === 'int4' ? int4Grid(options.blockSize, options.activations) : int8Grid;
  const prepared = await prepare(engine, source, { migrate, correctBias, grid }, images, progress);
  const finish = async (made: Graph) => {
    if (learnRounding) {
      const shown = someImages(engine, model, data!, learnSamples, { seed, progress });
      const batches = await heldBatches(prepared.graph, shown, learnSamples);
      await learnRecorded(engine, prepared.graph, made, batches, { steps: learnSteps, progress });
    }
    await prepared.finish(made);
  };
  const quantized =
    maxDrop === undefined
      ? await quantizePass(engine, prepared.graph, options, images, progress)
      : await quantizeWithin(
          { allowed: maxDrop, of: dropOf, samples: dropSamples },
          engine,
          prepared.graph,
          options,
          {
            ...{ data, progress, finish },
            images: calibrates(options) ? images : undefined,
          },
        );
  if (maxDrop === undefined) await finish(quantized);
  const halves = options.dtype === 'fp16' ? ' (--compute float32 stores the weights alone in float16)' : '';
  await assertLoads(engine, quantized, `the model can't be had in ${options.dtype}${halves}`);
  await check(engine, prepared.graph, quantized, { force, progress });
  const warning = quantizationWarning(quantization(quantized)!);
  if (warning) progress.note(warning);
  const { dtype, scheme, backend } = options;
  remember(quantized, `quantized: ${dtype === 'int8' ? `int8 ${scheme}, ${backend}` : dtype}`);
  return quantized;
}

/** Compares, says what one should know, keeps it in the model's record. @throws UserError when it has collapsed */
async function check(
  engine: Engine,
  model: Graph,
  quantized: Graph,
  { force, progress }: { force: boolean; progress: Progress },
): Promise<void> {
  const record = quantization(quantized)!;
  const { relative, layers, warnings, collapsed } = await selfCheck(engine, model, quantized, record);
  if (collapsed && !force) {
    throw new UserError(
      `the model collapses in ${record.dtype}: ${collapsed}; nothing was written. Leave such layers out (--ignore), or write it all the same (--force)`,
    );
  }
  for (const line of warnings) progress.note(`warning: ${line}`);
  if (collapsed) progress.note(`written because of --force, but of no use: ${collapsed}`);
  const errors = layers.map(({ name, error }) => [name, Number(error.toPrecision(3))]);
  recordQuantization(quantized, {
    ...record,
    check: { relative, layers: Object.fromEntries(errors), warnings: [...warnings] },
  });
}
