import { exactOn, numbersOf } from './backends.ts';
import type { Quantization } from './record.ts';

const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;

/** What was done to a model's numbers in a few words: `int8 dynamic, x86, a scale a channel`. */
export function quantizationTitle(record: Quantization): string {
  if (record.dtype === 'fp16') return record.compute === 'float32' ? 'fp16 weights, fp32 arithmetic' : 'fp16';
  const { granularity } = numbersOf(record);
  const scales = granularity === 'channel' ? 'a scale a channel' : 'a scale a weight matrix';
  return [`int8 ${record.scheme}`, record.backend, scales].filter(Boolean).join(', ');
}

/** What the choice of int8 numbers cost, and where they hold, a line each. */
export function quantizationFacts(record: Quantization): string[] {
  const { dtype, scheme = 'dynamic', weightError } = record;
  const lines = checkFacts(record);
  if (dtype !== 'int8') return lines;
  if (record.migrated) {
    lines.push(`channels of ${record.migrated.length} norms are scaled into the weights that read them`);
  }
  if (record.biasCorrected) lines.push('biases make up for what outputs are off on the average');
  if (weightError) {
    const { relative, plain } = weightError;
    lines.push(
      `weights: rounding changes ${percent(relative)} of their norm; plain scales for each channel ${percent(plain)}`,
    );
  }
  lines.push(`exact on ${exactOn(numbersOf(record), scheme)}`);
  return lines;
}

/** How many layers are named. */
const shown = 3;

function checkFacts({ check, drop, ignored = [], tooUneven = [] }: Quantization): string[] {
  const lines: string[] = [];
  if (drop) {
    lines.push(
      `${drop.of} on ${drop.samples} held-out images: ${drop.points.toFixed(2)} points below FP32 (${drop.allowed} allowed)`,
    );
  }
  if (check?.relative != null) lines.push(`on noise the outputs are ${percent(check.relative)} from FP32's`);
  const worst = Object.entries(check?.layers ?? {}).sort(([, a], [, b]) => b - a);
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
  const { dtype, scheme = 'dynamic' } = record;
  if (dtype !== 'int8') return undefined;
  const where = exactOn(numbersOf(record), scheme);
  return where === 'every processor' ? undefined : `int8 sums are exact on ${where}`;
}
