import { Random } from '../common/random.ts';
import type { Card, CardTiles } from '../export/card-schema.ts';
import { softmax } from '../export/golden-sample.ts';
import { Tensor } from '../graph/tensor.ts';
import type { Engine, Session } from '../runtime/session.ts';
import { type Expectation, judge } from './judge.ts';
import { type InputForm, inputOf } from './model-input.ts';
import { tilesOf } from './text.ts';

/** Random images beside the golden sample. */
const moreSamples = 2;

/** How far outputs may be off, relative to their norm. float32 engines add up in another order; float16 has 11 bits. */
const tolerances = { fp32: 1e-3, fp16: 1e-2, int8: 5e-2, int4: 5e-2 };

/** The images that files with inputs of so many channels are tried on; the first is the golden sample's where there is one. */
export function samplesFor(channels: 1 | 3, golden: CardTiles | undefined): CardTiles[] {
  const random = (seed: number): CardTiles => {
    const draw = new Random(seed, 0x1ab);
    const bytes = Uint8Array.from({ length: 64 * channels }, () => draw.below(256));
    return { width: 8, height: 8, channels, pixels: btoa(String.fromCharCode(...bytes)) };
  };
  return [golden ?? random(0), ...Array.from({ length: moreSamples }, (_, i) => random(i + 1))];
}

/** A file that this machine's engine runs. */
export interface Runnable {
  readonly path: string;
  readonly input: InputForm;
  readonly output: string;
}

/** Outputs of a file for images, one after the other. */
export async function outputsOf(
  engine: Engine,
  { path, input, output }: Runnable,
  samples: readonly CardTiles[],
): Promise<Float32Array[]> {
  const session: Session = await engine.load(path);
  try {
    const rows: Float32Array[] = [];
    for (const sample of samples) {
      const values = inputOf(input, tilesOf(sample));
      const found = await session.run({ [input.name]: new Tensor(input.dtype, input.shape, values) }, [
        output,
      ]);
      rows.push(found[output]!.floats.slice());
    }
    return rows;
  } finally {
    await session.dispose();
  }
}

/**
 * What a file must give.
 * @param reference outputs of the float32 model of the same weights; logits where `of` is scores
 * @param own outputs of the same numbers in this machine's engine, where it runs them: an int8 model may be as far off twice
 */
export function expectationOf(
  { precision, scores }: Pick<Card, 'precision' | 'scores'>,
  reference: { outputs: readonly Float32Array[]; scores: string | null; from: string },
  own?: readonly Float32Array[],
): Expectation {
  const softened = scores === 'probabilities' && reference.scores !== 'probabilities';
  const samples = reference.outputs.map((values) => ({ values: [...(softened ? softmax(values) : values)] }));
  const error = own ? (judge(own, { samples, tolerance: 0, from: '' }, 'wasm').error ?? 0) : 0;
  return { samples, tolerance: Math.max(tolerances[precision], 2 * error), from: reference.from };
}

/** What the card alone says: the five best scores of the golden sample. */
export function goldenExpectation({ golden }: Pick<Card, 'golden'>): Expectation | null {
  if (!golden) return null;
  const values = golden.top5.map(({ score }) => score);
  const norm = Math.hypot(...values);
  return {
    samples: [{ values, indices: golden.top5.map(({ index }) => index) }],
    tolerance: (golden.tolerance * Math.sqrt(values.length)) / norm,
    from: 'the golden sample of its card',
  };
}
