import type { Graph, Node, Value } from '../../graph/graph.ts';
import { replaceValue } from '../../graph/replace.ts';
import { scopedBuilder } from './linear.ts';

/**
 * A `Gather` from a flattened tensor whose places are `image * stride + offset`, offsets being constants, takes the same
 * elements of each image: of `[N, stride]` along the second axis, or, where it takes all of them in their order,
 * nothing but a `Reshape`. So PyTorch's newer exporter writes what it indexes with tensors. It does not fire where
 * an image is not `stride` elements long.
 */
export function flatGathers(graph: Graph): void {
  for (const node of [...graph.nodes]) if (node.op === 'Gather') perImage(graph, node);
  graph.removeDead();
}

function perImage(graph: Graph, node: Node): void {
  const [flat, places] = [node.input(0), node.input(1)];
  const flatten = flat.producer;
  const x = flatten?.op === 'Reshape' && flat.shape?.length === 1 ? flatten.input(0) : undefined;
  const [images, ...rest] = x?.shape ?? [];
  const shape = node.output().shape;
  if (!x || !shape || typeof images !== 'string' || shape[0] !== images) return;
  const lengths = shape.slice(1);
  if (![...rest, ...lengths].every((dim) => typeof dim === 'number')) return;
  const stride = rest.reduce((product: number, dim) => product * (dim as number), 1);
  const found = placesOf(places, lengths as number[]);
  if (found?.stride !== stride || found.offsets.some((offset) => offset < 0 || offset >= stride)) return;
  const b = scopedBuilder(graph, node);
  const isAll = found.offsets.length === stride && found.offsets.every((offset, i) => offset === i);
  const rows = isAll
    ? x
    : b.op(
        'Gather',
        [b.op('Reshape', [x, b.ints([-1, stride])], {}, 'images'), b.ints(found.offsets)],
        { axis: 1 },
        'gathered',
      );
  replaceValue(
    graph,
    node.output(),
    b.op('Reshape', [rows, b.ints([-1, ...(lengths as number[])])], {}, 'taken'),
  );
}

interface Places {
  /** Elements from an image to the next. */
  readonly stride: number;
  /** Of each place in an image of the output, in order. */
  readonly offsets: number[];
}

/** The places, as a sum of constants and one multiple of the image's number. @param lengths of the axes after the first */
function placesOf(places: Value, lengths: readonly number[]): Places | undefined {
  const terms = termsOf(places);
  const moving = terms.filter((term) => !term.isConstant);
  const stride = moving.length === 1 ? strideOf(moving[0]!, lengths.length) : undefined;
  if (stride === undefined) return undefined;
  const count = lengths.reduce((product, length) => product * length, 1);
  const offsets = Array<number>(count).fill(0);
  for (const { tensor } of terms.filter((term) => term.isConstant)) {
    const own = tensor!.shape;
    // A constant of as many axes as the places must be one for all images.
    if (own.length > lengths.length && (own.length > lengths.length + 1 || own[0] !== 1)) return undefined;
    const axes = own.slice(Math.max(0, own.length - lengths.length));
    const values = tensor!.integers;
    for (let i = 0; i < count; i++) offsets[i]! += values[placeIn(axes, lengths, i)]!;
  }
  return { stride, offsets };
}

/** Where in a tensor of these axes, which broadcasts, an element of the whole is read. */
function placeIn(axes: readonly number[], lengths: readonly number[], index: number): number {
  let [place, step, rest] = [0, 1, index];
  for (let axis = lengths.length - 1; axis >= 0; axis--) {
    const at = rest % lengths[axis]!;
    rest = Math.floor(rest / lengths[axis]!);
    const own = axes[axis - (lengths.length - axes.length)];
    if (own === undefined) continue;
    if (own > 1) place += at * step;
    step *= own;
  }
  return place;
}

const termsOf = (sum: Value): Value[] =>
  sum.producer?.op === 'Add' ? [0, 1].flatMap((i) => termsOf(sum.producer!.input(i))) : [sum];

/** The value of a constant whole number. */
const integerOf = (value: Value | undefined): number | undefined =>
  value?.tensor?.dtype === 'int64' && value.tensor.size === 1 ? value.tensor.integers[0] : undefined;

/** Of `0, 1, ... N - 1` times a number, as `[N, 1, ...]`: the number. */
function strideOf(value: Value, trailing: number): number | undefined {
  const { producer } = value;
  if (producer?.op === 'Unsqueeze' || producer?.op === 'Reshape') {
    const { shape } = value;
    const stands = shape?.length === trailing + 1 && shape.slice(1).every((dim) => dim === 1);
    return stands ? strideOf(producer.input(0), 0) : undefined;
  }
  if (producer?.op === 'Mul') {
    const factor = producer.inputs.map(integerOf).find((scalar) => scalar !== undefined);
    const other = producer.inputs.find((input) => integerOf(input) === undefined);
    const own = other && strideOf(other, trailing);
    return factor === undefined || own === undefined ? undefined : factor * own;
  }
  const counts = producer?.op === 'Range' && trailing === 0;
  return counts && integerOf(producer.input(0)) === 0 && integerOf(producer.input(2)) === 1 ? 1 : undefined;
}
