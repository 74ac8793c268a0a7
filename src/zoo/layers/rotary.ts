import type { Value } from '../../graph/graph.ts';
import { Tensor } from '../../graph/tensor.ts';
import { bounded } from '../bounded.ts';
import { dimOf, type Layers } from './layers.ts';

/** Which channels of a head are turned as a pair: neighbours, or one of each half. */
export type RotaryPairs = 'neighbours' | 'halves';

/** Cosines and sines `[..., T, D]`; the sine of a pair's first channel has its sign turned. */
export interface Rotary {
  cos: Value;
  sin: Value;
}

/** The sign that a pair's sine has in each channel. */
const signs = (width: number, pairs: RotaryPairs): number[] =>
  Array.from({ length: bounded(width) }, (_, i) =>
    (pairs === 'halves' ? i < width / 2 : i % 2 === 0) ? -1 : 1,
  );

/**
 * Queries or keys `[N, H, T, D]` turned by their positions ("RoFormer", arXiv 2104.09864): x cos + y sin, where y
 * has the channels of each pair swapped.
 */
export function rotate(layers: Layers, x: Value, { cos, sin }: Rotary, pairs: RotaryPairs): Value {
  const b = layers.builder;
  const kept = b.op('Mul', [x, cos], {}, 'kept');
  return b.op('Add', [kept, b.op('Mul', [swapped(layers, x, pairs), sin], {}, 'turned')], {}, 'rotated');
}

function swapped(layers: Layers, x: Value, pairs: RotaryPairs): Value {
  const b = layers.builder;
  const swap = (value: Value) => {
    const cut = b.node('Split', [value], { axis: -1, num_outputs: 2 }, 2, 'pair');
    return b.op('Concat', [cut.output(1), cut.output(0)], { axis: -1 }, 'swapped');
  };
  if (pairs === 'halves') return swap(x);
  const boxed = b.op('Reshape', [x, b.ints([0, 0, 0, -1, 2])], {}, 'pairs');
  return b.op('Reshape', [swap(boxed), b.ints([0, 0, 0, -1])], {}, 'unpaired');
}

export interface RotaryTable {
  /** Tokens before the patches, which are not turned. */
  prefix: number;
  pairs: RotaryPairs;
  /** Angles of each patch, a row a patch, a number a channel of a head. */
  angles: readonly (readonly number[])[];
}

/** Constants for angles that are known. */
export function rotaryTable(layers: Layers, { prefix, pairs, angles }: RotaryTable): Rotary {
  const width = angles[0]!.length;
  const sign = signs(width, pairs);
  const table = (name: string, still: number, of: (angle: number, channel: number) => number) => {
    const data = new Float32Array(bounded((prefix + angles.length) * width)).fill(still, 0, prefix * width);
    angles.forEach((row, i) => {
      data.set(row.map(of), (prefix + i) * width);
    });
    return layers.constant(name, Tensor.float32([prefix + angles.length, width], data));
  };
  return {
    cos: table('cos', 1, Math.cos),
    sin: table('sin', 0, (angle, channel) => Math.sin(angle) * sign[channel]!),
  };
}

export interface MixedRotaryOptions {
  prefix: number;
  pairs: RotaryPairs;
  /** Each patch's place, as the frequencies count it. */
  places: readonly (readonly [first: number, second: number])[];
}

/**
 * Cosines and sines of learned frequencies `[2, H, D / 2]`, along both axes of the image ("Rotary Position Embedding
 * for Vision Transformer", arXiv 2403.13298): `[H, T, D]`, neighbours alike.
 */
export function mixedRotary(
  layers: Layers,
  frequencies: Value,
  { prefix, pairs, places }: MixedRotaryOptions,
): Rotary {
  const b = layers.builder;
  const [heads, half] = [dimOf(frequencies, 1), dimOf(frequencies, 2)];
  const grid = layers.constant(
    'places',
    Tensor.float32([places.length, 2], Float32Array.from(places.flat())),
  );
  const perHead = b.op('Transpose', [frequencies], { perm: [1, 0, 2] }, 'frequencies_by_head');
  const angles = b.op('MatMul', [grid, perHead], {}, 'angles');
  const table = (op: 'Cos' | 'Sin', still: number) => {
    const values = b.op('Unsqueeze', [b.op(op, [angles], {}, 'wave'), b.ints([3])], {}, 'column');
    const doubled = b.op('Concat', [values, values], { axis: 3 }, 'doubled');
    const flat = b.op('Reshape', [doubled, b.ints([heads, places.length, 2 * half])], {}, 'channels');
    if (prefix === 0) return flat;
    const pads = b.ints([0, prefix, 0, 0, 0, 0]);
    return b.op('Pad', [flat, pads, b.scalar(still)], {}, 'with_prefix');
  };
  const sign = layers.constant(
    'signs',
    Tensor.float32([2 * half], Float32Array.from(signs(2 * half, pairs))),
  );
  return { cos: table('Cos', 1), sin: b.op('Mul', [table('Sin', 0), sign], {}, 'signed') };
}
