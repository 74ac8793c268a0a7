import * as z from 'zod';
import { UserError } from '../common/errors.ts';
import { parseJsonAs } from '../common/json.ts';
import type { Graph } from '../graph/graph.ts';
import { type ForeignQuantization, foreignQuantization } from '../import/quantized/note.ts';
import { type BackendName, backends, type WeightKind, weightKinds } from './backends.ts';
import type { WeightError } from './layers.ts';

/** The number types that a model is brought to. */
export const precisions = ['int8', 'int4', 'fp16'] as const;
/** Those that a model can be in. */
export const modelPrecisions = ['fp32', ...precisions] as const;
export type ModelPrecision = (typeof modelPrecisions)[number];

/** What was done to a graph's numbers; kept in its metadata for exporters and reports. */
export interface Quantization {
  dtype: (typeof precisions)[number];
  /** int8: where activation ranges come from. */
  scheme?: 'dynamic' | 'static';
  backend?: BackendName;
  /** static int8: how ranges were chosen from what calibration saw. */
  observer?: string;
  /** int8: how weights were rounded. */
  weights?: WeightKind;
  /** int8: the weights may overflow the 16-bit sums of processors without VNNI. */
  assumeVnni?: boolean;
  /** int8: activations use 7 of their 8 bits. */
  reduceRange?: boolean;
  /** int8: what rounding the weights changed. */
  weightError?: WeightError;
  /** int4: numbers of a weight that share a scale. */
  blockSize?: number;
  /** int4: what activations are multiplied as. */
  activations?: 'float32' | 'int8' | 'int4';
  /** fp16: what arithmetic is done in; `float32` is weights stored in half the space. */
  compute?: 'float16' | 'float32';
  /** Weights that were left as they were. */
  ignored?: string[];
  /** int8: kernels that stayed in float32, since int8 can't hold them. */
  tooUneven?: string[];
  /** Norms whose channels were scaled into the next weights, by the names of their scales. */
  migrated?: string[];
  /** What is off on the average was taken from the biases. */
  biasCorrected?: boolean;
  /** What weights of Linears are rounded to was learnt. */
  learntRounding?: LearntRecord;
  /** How it compares with float32 on noise. */
  check?: CheckRecord;
  /** Where a drop was allowed: what it is. */
  drop?: DropRecord;
  /** Another tool did it: what its file was like. Then backend, observer and rounding are not known. */
  foreign?: ForeignQuantization;
}

/** What a quantized model loses against float32, measured on images, and what stayed in float32 for that. */
export interface DropRecord {
  /** Hundredths of the images. */
  points: number;
  allowed: number;
  /** Right answers, or answers that are float32's. */
  of: 'top1' | 'agreement';
  samples: number;
  /** Names of weights, those that suffer most first. */
  kept: string[];
}

/** Errors of the outputs of layers on the images it was learnt from, of their norm, in the mean over layers. */
export interface LearntRecord {
  images: number;
  steps: number;
  layers: number;
  before: number;
  after: number;
}

export interface CheckRecord {
  /** Of the outputs: the norm of what changes over their own; null: unknown. */
  relative: number | null;
  /** int8: the same of each layer's outputs, on exact inputs, by the name of its weight. */
  layers: Record<string, number>;
  warnings: string[];
}

const key = 'pqv.quantization';

/** `Quantization`, as far as a damaged one would be met later; the rest is for reports. */
const recordSchema = z.looseObject({
  dtype: z.enum(precisions),
  scheme: z.enum(['dynamic', 'static']).optional(),
  backend: z.enum(Object.keys(backends) as BackendName[]).optional(),
  weights: z.enum(weightKinds).optional(),
  weightError: z.object({ relative: z.number(), plain: z.number() }).optional(),
  blockSize: z.number().optional(),
  activations: z.enum(['float32', 'int8', 'int4']).optional(),
  ignored: z.array(z.string()).optional(),
  tooUneven: z.array(z.string()).optional(),
  migrated: z.array(z.string()).optional(),
  drop: z
    .looseObject({
      points: z.number(),
      allowed: z.number(),
      of: z.enum(['top1', 'agreement']),
      samples: z.number(),
    })
    .optional(),
  learntRounding: z.looseObject({ images: z.number(), before: z.number(), after: z.number() }).optional(),
  check: z
    .looseObject({
      relative: z.number().nullable(),
      layers: z.record(z.string(), z.number()),
      warnings: z.array(z.string()),
    })
    .optional(),
});

const integerOps = new Set([
  'com.microsoft.DynamicQuantizeMatMul',
  'com.microsoft.MatMulIntegerToFloat',
  'com.microsoft.QAttention',
  'com.microsoft.MatMulNBits',
  'QuantizeLinear',
  'DequantizeLinear',
  'DynamicQuantizeLinear',
  'MatMulInteger',
  'ConvInteger',
  'QLinearMatMul',
  'QLinearConv',
  'com.microsoft.QGemm',
]);

/** How the graph was quantized, by us or by another tool; undefined when it was not. */
export function quantization(graph: Graph): Quantization | undefined {
  const text = graph.metadata.get(key);
  if (text !== undefined) return parseJsonAs(recordSchema, text, `the model's note "${key}"`) as Quantization;
  const foreign = foreignQuantization(graph);
  if (!foreign) return undefined;
  const { format } = foreign;
  const inFour = foreign.weights.length > 0 && foreign.weights.every((type) => type.endsWith('int4'));
  if (format === 'weights only') return { dtype: inFour ? 'int4' : 'int8', foreign };
  return { dtype: 'int8', scheme: format === 'dynamic' ? 'dynamic' : 'static', foreign };
}

export function recordQuantization(graph: Graph, record: Quantization): void {
  graph.metadata.set(key, JSON.stringify(record));
}

/** What is done to models in full precision alone. */
export type Change = 'quantize' | 'prune' | 'train';

/**
 * @param to what is to be done with it, for the message
 * @throws UserError when the graph already has lowered precision, ours or another tool's
 */
export function assertFullPrecision(graph: Graph, to: Change = 'quantize'): void {
  const record = quantization(graph);
  const integer = graph.nodes.find((node) => integerOps.has(node.op));
  const half = [...graph.constants.values()].find((value) => value.dtype === 'float16');
  if (!record && !integer && !half) return;
  const found = record ? foundIn(record) : integer ? integer.label : `float16 ${half!.name}`;
  throw new UserError(`the model is already quantized (${found}); ${remedies[to]}`);
}

const remedies: Record<Change, string> = {
  quantize: 'quantize the float32 model it came from',
  prune: 'pruning comes before quantization: prune the float32 model it came from',
  train: 'training comes before quantization: finetune the float32 model it came from',
};

const foundIn = ({ dtype, foreign }: Quantization): string =>
  foreign ? [dtype, foreign.format, foreign.tool && `by ${foreign.tool}`].filter(Boolean).join(', ') : dtype;
