import { Random } from '../common/random.ts';

/**
 * Layers of the ziggurat (Marsaglia and Tsang, 2000, with 128 layers) for the standard normal density
 * exp(-x^2 / 2): layer i is as wide as x[i], all have the same area, the lowest has the tail beyond r.
 */
const layerCount = 128;
const tailStart = 3.442619855899;
const layerArea = 9.91256303526217e-3;
const edges = new Float64Array(layerCount + 1);
const heights = new Float64Array(layerCount + 1);
const density = (x: number) => Math.exp(-0.5 * x * x);

edges[0] = layerArea / density(tailStart);
edges[1] = tailStart;
for (let i = 2; i < layerCount; i++) {
  const below = edges[i - 1]!;
  edges[i] = Math.sqrt(-2 * Math.log(layerArea / below + density(below)));
}
edges[layerCount] = 0;
for (let i = 0; i <= layerCount; i++) heights[i] = density(edges[i]!);

/** A stream of 32-bit words, fast where many are drawn: sfc32 (Doty-Humphrey), seeded through `Random`. */
function wordStream(keys: readonly number[]): () => number {
  const seed = new Random(...keys);
  let a = seed.next() | 0;
  let b = seed.next() | 0;
  let c = seed.next() | 0;
  let counter = 1;
  return () => {
    const word = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + word) | 0;
    return word;
  };
}

/** Fills with numbers from N(0, std^2) cut at `limit` deviations. The same keys give the same numbers. */
export function fillNormal(data: Float32Array, std: number, limit: number, keys: readonly number[]): void {
  const next = wordStream(keys);
  for (let i = 0; i < data.length; i++) {
    let x: number;
    do x = normal(next);
    while (x > limit || x < -limit);
    data[i] = x * std;
  }
}

/** Fills with numbers from U(-bound, bound). The same keys give the same numbers. */
export function fillUniform(data: Float32Array, bound: number, keys: readonly number[]): void {
  const next = wordStream(keys);
  const scale = bound / 2 ** 31;
  for (let i = 0; i < data.length; i++) data[i] = next() * scale;
}

/** 7 bits of a word choose the layer, the upper 25, signed, the place in it. */
function normal(next: () => number): number {
  for (;;) {
    const word = next();
    const layer = word & (layerCount - 1);
    const x = ((word >> 7) / 2 ** 24) * edges[layer]!;
    if (Math.abs(x) < edges[layer + 1]!) return x;
    if (layer === 0) return tail(next, word < 0);
    const low = heights[layer]!;
    if (low + unit(next) * (heights[layer + 1]! - low) < density(x)) return x;
  }
}

/** Beyond r: Marsaglia (1964). */
function tail(next: () => number, negative: boolean): number {
  for (;;) {
    const x = -Math.log(1 - unit(next)) / tailStart;
    const y = -Math.log(1 - unit(next));
    if (y + y > x * x) return negative ? -(tailStart + x) : tailStart + x;
  }
}

const unit = (next: () => number) => (next() >>> 0) / 2 ** 32;
