import type { ForeignQuantization } from '../import/quantized/note.ts';
import { exactOn, type Numbers, numbersOf } from './backends.ts';
import type { Quantization } from './record.ts';

/** What is known of the numbers of a quantized model. */
const numbersIn = (record: Quantization): Numbers => {
  const { foreign } = record;
  if (!foreign) return numbersOf(record);
  const granularity = foreign.granularity === 'matrix' ? 'tensor' : 'channel';
  return { granularity, bounded: foreign.sevenBits, reduceRange: false };
};

const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;

/** What was done to a model's numbers in a few words: `int8 dynamic, x86, a scale a channel`. */
export function quantizationTitle(record: Quantization): string {
  if (record.dtype === 'fp16') return record.compute === 'float32' ? 'fp16 weights, fp32 arithmetic' : 'fp16';
  if (record.foreign) return foreignTitle(record.foreign);
  if (record.dtype === 'int4') {
    const { blockSize, activations } = record;
    return `int4 weights, a scale for ${blockSize} of them, ${activations === 'float32' ? 'fp32' : activations} activations`;
  }
  const { granularity } = numbersOf(record);
  const scales = granularity === 'channel' ? 'a scale a channel' : 'a scale a weight matrix';
  return [`int8 ${record.scheme}`, record.backend, scales].filter(Boolean).join(', ');
}

/** What was done to a model's numbers, for programs. */
export interface QuantizationFields {
  dtype: Quantization['dtype'];
  /** `weights`: activations are in floating point; null for FP16. */
  scheme: 'dynamic' | 'static' | 'weights' | null;
  /** Who quantized it, where the file tells. */
  by: string | null;
  /** How the file has it, where another tool wrote it. */
  format: ForeignQuantization['format'] | null;
  /** Types of the integers that stand for weights and for activations. */
  weights: readonly string[];
  activations: readonly string[];
  /** What has a scale of its own; null for FP16. */
  scales: ForeignQuantization['granularity'] | null;
}

/** What was done to a model's numbers, in fields. */
export function quantizationFields(record: Quantization): QuantizationFields {
  const { dtype, scheme, foreign } = record;
  const weights = foreign?.format === 'weights only' ? 'weights' : null;
  if (foreign) {
    const { tool, format, weights: types, activations, granularity } = foreign;
    const given = { weights: types, activations, scales: granularity };
    return { dtype, scheme: scheme ?? weights, by: tool ?? null, format, ...given };
  }
  const ours = { dtype, by: 'pqv-mobile', format: null };
  if (dtype === 'fp16') return { ...ours, scheme: null, weights: ['float16'], activations: [], scales: null };
  if (dtype === 'int4') {
    const { activations = 'float32' } = record;
    const rounded = activations !== 'float32';
    const given = { weights: ['int4'], activations: rounded ? [activations] : [], scales: 'block' as const };
    return { ...ours, scheme: rounded ? 'dynamic' : 'weights', ...given };
  }
  const scales = numbersOf(record).granularity === 'tensor' ? 'matrix' : 'channel';
  return { ...ours, scheme: scheme ?? 'dynamic', weights: ['int8'], activations: ['uint8'], scales };
}

const grains = { channel: 'a scale a channel', matrix: 'a scale a weight matrix', block: 'a scale a block' };

/** `int8 static (QDQ), by onnxruntime's quantizer, int8 weights, a scale a channel, uint8 activations`. */
function foreignTitle({ format, tool, weights, activations, granularity }: ForeignQuantization): string {
  const ways = {
    QDQ: 'static (QDQ)',
    QOperator: 'static (QOperator)',
    dynamic: 'dynamic',
    'weights only': 'weights only',
  };
  return [
    format === 'weights only' ? format : `int8 ${ways[format]}`,
    tool && `by ${tool}`,
    weights.length > 0 && `${weights.join(' and ')} weights, ${grains[granularity]}`,
    activations.length > 0 && `${activations.join(' and ')} activations`,
  ]
    .filter(Boolean)
    .join(', ');
}

/** What the choice of int8 numbers cost, and where they hold, a line each. */
export function quantizationFacts(record: Quantization): string[] {
  const { dtype, scheme = 'dynamic', weightError } = record;
  const lines = checkFacts(record);
  if (dtype === 'int4' && weightError) {
    lines.push(`weights: rounding changes ${percent(weightError.relative)} of their norm`);
  }
  if (record.migrated) {
    lines.push(`channels of ${record.migrated.length} norms are scaled into the weights that read them`);
  }
  if (record.biasCorrected) lines.push('biases make up for what outputs are off on the average');
  if (record.learntRounding) {
    const { images, before, after } = record.learntRounding;
    lines.push(
      `rounding learnt from ${images} images: outputs of layers are ${percent(after)} off on them, ${percent(before)} without`,
    );
  }
  if (dtype !== 'int8') return lines;
  if (weightError) {
    const { relative, plain } = weightError;
    lines.push(
      `weights: rounding changes ${percent(relative)} of their norm; plain scales for each channel ${percent(plain)}`,
    );
  }
  lines.push(`exact on ${exactOn(numbersIn(record), scheme)}`);
  return lines;
}

/** How many layers are named. */
const shown = 3;

function checkFacts({ dtype, check, drop, ignored = [], tooUneven = [] }: Quantization): string[] {
  const lines: string[] = [];
  if (drop) {
    lines.push(
      `${drop.of} on ${drop.samples} held-out images: ${drop.points.toFixed(2)} points below FP32 (${drop.allowed} allowed)`,
    );
  }
  if (check?.relative != null) lines.push(`on noise the outputs are ${percent(check.relative)} from FP32's`);
  const measured = dtype === 'int8' ? check?.layers : undefined;
  const worst = Object.entries(measured ?? {}).sort(([, a], [, b]) => b - a);
  if (worst.length > 0) {
    const named = worst.slice(0, shown).map(([name, error]) => `${name} ${percent(error)}`);
    lines.push(`layers that change most by themselves: ${named.join(', ')}`);
  }
  if (ignored.length > 0) lines.push(`left in float32: ${ignored.join(', ')}`);
  if (tooUneven.length > 0) {
    const named = tooUneven.slice(0, shown).join(', ');
    const others = tooUneven.length > shown ? `, and ${tooUneven.length - shown} more` : '';
    lines.push(`kernels left in float32, too uneven for int8: ${named}${others}`);
  }
  return lines;
}

/** What one should be warned of before such a file is shipped; undefined where it is right everywhere. */
export function quantizationWarning(record: Quantization): string | undefined {
  const { dtype, scheme = 'dynamic', foreign } = record;
  if (dtype !== 'int8' || foreign?.format === 'weights only') return undefined;
  const where = exactOn(numbersIn(record), scheme);
  return where === 'every processor' ? undefined : `int8 sums are exact on ${where}`;
}
