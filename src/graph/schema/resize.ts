import { UserError } from '../../common/errors.ts';
import { normalizeAxis } from '../dim.ts';
import type { Node, Shape } from '../types.ts';
import { isComputed } from './arguments.ts';
import type { OpArguments } from './signature.ts';

type Arguments = OpArguments['Resize'];

/** How one axis is resized: from so many places to so many, `scale` apart. */
export interface ResizedAxis {
  readonly axis: number;
  readonly from: number;
  readonly to: number;
  readonly scale: number;
}

/**
 * The axes that a Resize changes; undefined when how is computed at run time.
 * @throws UserError when an axis that changes has no known length
 */
export function resizedAxes(
  node: Node,
  { axes: given, scales, sizes }: Arguments,
): ResizedAxis[] | undefined {
  const [input, output] = [node.input(0).shape, node.output().shape];
  if (isComputed(scales) || !input || !output) return undefined;
  if (isComputed(sizes) && !input.every((dim, i) => dim === output[i] || typeof output[i] === 'number'))
    return undefined;
  const axes = given?.map((axis) => normalizeAxis(axis, input.length)) ?? [...input.keys()];
  return axes.flatMap((axis, i): ResizedAxis[] => {
    const [from, to] = [input[axis], output[axis]];
    const scale = scales?.length ? scales[i]! : undefined;
    if (scale === 1 || (scale === undefined && from === to)) return [];
    if (typeof from !== 'number' || typeof to !== 'number') {
      throw new UserError(`${node.label} resizes axis ${axis} of [${input}], whose length is not known`);
    }
    return [{ axis, from, to, scale: scale ?? to / from }];
  });
}

/** The shape that `sizes` or `scales` make, which may be for `axes` only. */
export function resizedShape(input: Shape, { axes: given, scales, sizes }: Arguments): Shape | undefined {
  if (isComputed(scales) || isComputed(sizes)) return undefined;
  const axes = given?.map((axis) => normalizeAxis(axis, input.length)) ?? [...input.keys()];
  const shape = [...input];
  axes.forEach((axis, i) => {
    const dim = input[axis]!;
    if (sizes?.length) shape[axis] = sizes[i]!;
    else if (scales?.length && scales[i] !== 1) {
      shape[axis] = typeof dim === 'number' ? Math.floor(dim * scales[i]!) : '?';
    }
  });
  return sizes?.length || scales?.length ? shape : undefined;
}

/** The place in the input of a place in the output. */
function originOf(place: number, { from, to, scale }: ResizedAxis, mode: string): number {
  switch (mode) {
    case 'half_pixel':
      return (place + 0.5) / scale - 0.5;
    case 'half_pixel_symmetric': {
      const adjustment = to / (scale * from);
      return (from / 2) * (1 - adjustment) + (place + 0.5) / scale - 0.5;
    }
    case 'pytorch_half_pixel':
      return to > 1 ? (place + 0.5) / scale - 0.5 : 0;
    case 'align_corners':
      return to > 1 ? (place * (from - 1)) / (to - 1) : 0;
    case 'asymmetric':
      return place / scale;
    default:
      throw new UserError(`a Resize by ${mode} has no matrix`);
  }
}

const nearest: Record<string, (place: number) => number> = {
  round_prefer_floor: (place) => Math.ceil(place - 0.5),
  round_prefer_ceil: (place) => Math.floor(place + 0.5),
  floor: Math.floor,
  ceil: Math.ceil,
};

/** The weight of a cubic kernel (Keys) at a distance. */
function cubic(distance: number, a: number): number {
  const d = Math.abs(distance);
  if (d <= 1) return (a + 2) * d ** 3 - (a + 3) * d ** 2 + 1;
  return d < 2 ? a * d ** 3 - 5 * a * d ** 2 + 8 * a * d - 4 * a : 0;
}

/** Places and their weights that make one element. Outside the axis its ends are repeated. */
function weightsAt(place: number, resized: ResizedAxis, args: Arguments): [place: number, weight: number][] {
  const { from } = resized;
  const origin = originOf(place, resized, args.coordinate_transformation_mode);
  if (args.mode === 'nearest') return [[nearest[args.nearest_mode]!(Math.fround(origin)), 1]];
  if (args.mode === 'linear') {
    const inside = Math.min(Math.max(origin, 0), from - 1);
    const low = Math.floor(inside);
    return [
      [low, 1 - (inside - low)],
      [low + 1, inside - low],
    ];
  }
  const low = Math.floor(origin);
  const taps = [-1, 0, 1, 2].map((k): [number, number] => [
    low + k,
    cubic(origin - low - k, args.cubic_coeff_a),
  ]);
  return args.exclude_outside === 1 ? taps.filter(([at]) => at >= 0 && at < from) : taps;
}

/** As Pillow: the kernel is stretched when the axis shrinks. */
function stretchedWeights(place: number, resized: ResizedAxis, args: Arguments): [number, number][] {
  const { from, scale } = resized;
  const stretch = Math.max(1, 1 / scale);
  const center = originOf(place, resized, args.coordinate_transformation_mode) + 0.5;
  const support = (args.mode === 'linear' ? 1 : 2) * stretch;
  const [lowest, highest] = args.exclude_outside === 1 ? [0, from] : [-Infinity, Infinity];
  const first = Math.max(lowest, Math.floor(center - support + 0.5));
  const last = Math.min(highest, Math.floor(center + support + 0.5));
  return Array.from({ length: last - first }, (_, i) => {
    const distance = (first + i + 0.5 - center) / stretch;
    const weight =
      args.mode === 'linear' ? Math.max(0, 1 - Math.abs(distance)) : cubic(distance, args.cubic_coeff_a);
    return [first + i, weight];
  });
}

/** What a Resize does along one axis, as a matrix `[to, from]`: rows are outputs. */
export function resizeMatrix(resized: ResizedAxis, args: Arguments): Float32Array {
  const { from, to } = resized;
  const matrix = new Float64Array(to * from);
  const stretched = args.antialias === 1 && args.mode !== 'nearest';
  for (let row = 0; row < to; row++) {
    const weights = (stretched ? stretchedWeights : weightsAt)(row, resized, args);
    const total = weights.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [place, weight] of weights) {
      matrix[row * from + Math.min(Math.max(place, 0), from - 1)]! += weight / total;
    }
  }
  return Float32Array.from(matrix);
}
