import type { Graph, Node, Value } from '../graph/graph.ts';
import { permutes, soleReader } from '../graph/patterns.ts';

/** What a graph did to its images before its first layer, when that was taken out of it. */
export interface PixelInput {
  /** Per channel, of pixels in 0..1; absent where the graph only turned or widened them, and did not say. */
  readonly normalization?: { readonly mean: readonly number[]; readonly std: readonly number[] };
  /** What the graph took: `uint8 [N, 224, 224, 3], 0 to 255, normalized inside`. */
  readonly took: string;
}

/** `scale * x + offset`, one of each a channel. */
interface Affine {
  readonly scale: readonly number[];
  readonly offset: readonly number[];
}

/**
 * Takes out of a graph, in place, what prepares its pixels: a Cast from integers, a Transpose from `[N, H, W, C]`, and
 * sums and products with a number or one a channel. Its input is float32 `[N, C, H, W]` and normalized afterwards, as
 * those of our builders are.
 * @returns what was taken out; undefined, and the graph as it was, where it prepares nothing
 */
export function takePixelInput(graph: Graph): PixelInput | undefined {
  const [images] = graph.inputs;
  if (graph.inputs.length !== 1 || images?.shape?.length !== 4) return undefined;
  const chain = chainFrom(graph, images, channelsOf(images));
  if (!chain) return undefined;
  const { shape, dtype } = images;
  const { end, affine, turned } = chain;
  const size = turned ? [shape[0]!, shape[3]!, shape[1]!, shape[2]!] : shape;
  const bytes = dtype === 'uint8' || isOfBytes(affine);
  const took = [
    `${dtype} [${shape.join(', ')}]`,
    ...(bytes ? ['pixels of 0 to 255'] : []),
    ...(isIdentity(affine) ? [] : ['normalized inside']),
  ].join(', ');
  const { name } = images;
  graph.rename(images, graph.uniqueName(`${name}_raw`));
  const pixels = graph.addInput(name, 'float32', size);
  graph.replaceUses(end, pixels);
  graph.removeDead();
  graph.removeConstant(images);
  const range = bytes ? 255 : 1;
  if (!bytes && isIdentity(affine)) return { took };
  const normalization = {
    mean: affine.scale.map((scale, c) => -affine.offset[c]! / (scale * range)),
    std: affine.scale.map((scale) => 1 / (scale * range)),
  };
  return { normalization, took };
}

interface Chain {
  end: Value;
  affine: Affine;
  /** Channels were last. */
  turned: boolean;
}

/** Of `[N, C, H, W]` or `[N, H, W, C]`, whichever can hold colours. */
function channelsOf({ shape }: Value): number | undefined {
  return [shape![1], shape![3]].find((dim): dim is number => dim === 3 || dim === 1);
}

function chainFrom(graph: Graph, images: Value, channels: number | undefined): Chain | undefined {
  if (channels === undefined) return undefined;
  let affine: Affine = { scale: Array(channels).fill(1), offset: Array(channels).fill(0) };
  let turned = false;
  let end = images;
  let last = images.shape![1] === channels ? 1 : 3;
  for (;;) {
    const node = soleReader(graph, end);
    if (!node) break;
    if (node.op === 'Transpose') {
      if (!permutes(node, [0, 3, 1, 2]) || last !== 3) break;
      turned = true;
      last = 1;
    } else if (node.op !== 'Cast') {
      const next = applied(node, end, affine, last);
      if (!next) break;
      affine = next;
    }
    end = node.output();
  }
  if (last !== 1 || end === images || end.dtype !== 'float32') return undefined;
  return affine.scale.every((scale) => scale > 0) ? { end, affine, turned } : undefined;
}

/** The affine map after a sum or product with a constant; undefined where the node is neither. */
function applied(node: Node, input: Value, { scale, offset }: Affine, axis: number): Affine | undefined {
  const rule = Object.hasOwn(steps, node.op) ? steps[node.op] : undefined;
  const at = node.inputs.indexOf(input);
  const other = node.inputs[1 - at];
  if (!rule || node.inputs.length !== 2 || !other?.tensor || other.tensor.dtype !== 'float32')
    return undefined;
  const numbers = perChannel(other, scale.length, axis);
  if (!numbers || (at === 1 && (node.op === 'Sub' || node.op === 'Div'))) return undefined;
  const pairs = scale.map((value, c) => rule(value, offset[c]!, numbers[c]!));
  return { scale: pairs.map(([value]) => value), offset: pairs.map(([, value]) => value) };
}

const steps: Readonly<
  Record<string, (scale: number, offset: number, by: number) => readonly [number, number]>
> = {
  Add: (scale, offset, by) => [scale, offset + by],
  Sub: (scale, offset, by) => [scale, offset - by],
  Mul: (scale, offset, by) => [scale * by, offset * by],
  Div: (scale, offset, by) => [scale / by, offset / by],
};

/** The numbers of a constant that is one number, or one for each channel. */
function perChannel({ tensor }: Value, channels: number, axis: number): readonly number[] | undefined {
  const { shape, floats } = tensor!;
  if (floats.length === 1) return Array(channels).fill(floats[0]!);
  const fromEnd = 4 - axis;
  if (floats.length !== channels || shape.at(-fromEnd) !== channels) return undefined;
  return Array.from(floats);
}

const isIdentity = ({ scale, offset }: Affine) =>
  scale.every((value) => value === 1) && offset.every((value) => value === 0);

/**
 * Whether floats that are normalized like this are pixels of 0 to 255: means and deviations of such are tens, those of
 * pixels of 0 to 1 are below 1; a graph that divides by 255 and more says it too.
 */
const isOfBytes = ({ scale, offset }: Affine) =>
  scale.some((value, c) => 1 / value > 2 || Math.abs(offset[c]! / value) > 2);
