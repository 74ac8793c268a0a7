import * as z from 'zod';
import { validated } from '../common/options.ts';
import type { Progress } from '../common/progress.ts';
import type { Graph } from '../graph/graph.ts';
import { fixedBatches } from '../runtime/fixed-batch.ts';
import type { Engine, Tensors } from '../runtime/session.ts';
import type { Affine } from './affine.ts';
import { type BackendName, backends, weightKinds } from './backends.ts';
import type { CalibrationData } from './calibrate.ts';
import { quantizeDynamic } from './dynamic.ts';
import { toFloat16 } from './float16.ts';
import { blockActivations, quantizeInt4 } from './int4.ts';
import { type ObserverName, observers } from './observers.ts';
import { precisions } from './record.ts';
import { quantizeStatic } from './static.ts';

export const schemes = ['dynamic', 'static'] as const;

const namesOf = <Name extends string>(table: Readonly<Record<Name, unknown>>) =>
  Object.keys(table) as [Name, ...Name[]];

/** The lower precision a model is given. */
export const quantizeOptions = z.strictObject({
  dtype: z.enum(precisions).default('int8').meta({ description: 'number type', value: 'type' }),
  scheme: z.enum(schemes).default('dynamic').meta({
    description: 'int8: activation ranges found at run time (dynamic) or by calibration (static)',
    value: 'how',
  }),
  backend: z.enum(namesOf<BackendName>(backends)).default('mlas').meta({
    description: 'int8: whose arithmetic the numbers are made for',
  }),
  weights: z.enum(weightKinds).default('safe').meta({
    description:
      'int8: weights whose sums overflow on no processor, or the numbers of PyTorch for the backend',
    value: 'how',
  }),
  assumeVnni: z.boolean().default(false).meta({
    description: 'safe int8 weights rounded more finely, for x86 with VNNI, Arm and WebAssembly only',
  }),
  observer: z.enum(namesOf<ObserverName>(observers)).default('mse').meta({
    description: 'static int8: how a range follows from what was seen',
    value: 'how',
  }),
  ignore: z.array(z.string()).default([]).meta({
    description: 'int8, int4: weights to leave in float32, as a pattern: head.*, *.mlp.fc2.weight',
    value: 'glob',
  }),
  blockSize: z
    .number()
    .int()
    .min(16)
    .max(256)
    .refine((size) => Number.isInteger(Math.log2(size)), 'it must be a power of two')
    .default(32)
    .meta({ description: 'int4: numbers of a weight that share a scale, a power of two', value: 'n' }),
  activations: z.enum(blockActivations).default('float32').meta({
    description:
      'int4: what is multiplied: floats, or activations rounded to 8 or 4 bits, block by block (int4: computed in floats, so slower)',
    value: 'type',
  }),
  compute: z.enum(['float16', 'float32']).default('float16').meta({
    description: 'FP16: arithmetic in float16 too, or (float32) weights stored in half the space alone',
    value: 'type',
  }),
  io: z.enum(['float32', 'float16']).default('float32').meta({
    description: 'FP16: element type of the inputs and outputs',
    value: 'type',
  }),
});

/** The options that decide the int8 numbers. */
export const int8Keys = {
  scheme: true,
  backend: true,
  weights: true,
  assumeVnni: true,
  observer: true,
  ignore: true,
} as const;

export type QuantizeOptions = z.input<typeof quantizeOptions>;

/** Whether images are looked at: for ranges, and for what overflows float16. */
export const calibrates = ({ dtype, scheme, compute }: z.output<typeof quantizeOptions>): boolean =>
  dtype === 'fp16' ? compute === 'float16' : dtype === 'int8' && scheme === 'static';

/**
 * A copy of the graph in a lower precision: `quantizeDynamic`, `quantizeStatic`, `quantizeInt4` or `toFloat16`, by the options.
 * @param data images, where `calibrates`: needed for static ranges; of use to float16
 * @param ranges static int8: found beforehand, in place of data
 * @throws UserError as these passes, and on a wrong option
 */
export function quantize(
  engine: Engine,
  graph: Graph,
  input: QuantizeOptions,
  data: CalibrationData | undefined,
  progress: Progress,
  ranges?: ReadonlyMap<string, Affine>,
): Promise<Graph> {
  const options = validated(quantizeOptions, input);
  const { dtype, scheme, backend, weights, assumeVnni, observer, ignore, compute, io } = options;
  if (dtype === 'fp16') {
    const calibration = calibrates(options) && data ? inputsFrom(graph, data) : undefined;
    return toFloat16(engine, graph, { compute, io, calibration });
  }
  if (dtype === 'int4') {
    const { blockSize, activations } = options;
    return quantizeInt4(engine, graph, { blockSize, activations, ignore, progress });
  }
  const choice = { backend, weights, assumeVnni, ignore, progress };
  return scheme === 'static'
    ? quantizeStatic(engine, graph, { ...choice, observer, data, ranges })
    : quantizeDynamic(engine, graph, choice);
}

/** Images as the model's inputs, in batches of the size it takes. */
export async function* inputsFrom(graph: Graph, data: CalibrationData): AsyncGenerator<Tensors> {
  const { name, shape } = graph.inputs[0]!;
  for await (const { pixels } of data) {
    for (const { batch } of fixedBatches(pixels, shape?.[0])) yield { [name]: batch };
  }
}
