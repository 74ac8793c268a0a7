import { UserError } from '../common/errors.ts';
import { Builder } from '../graph/builder.ts';
import type { Graph, Node, Value } from '../graph/graph.ts';
import { linears } from '../graph/linear.ts';
import { argumentsOf } from '../graph/schema/arguments.ts';
import { Tensor } from '../graph/tensor.ts';
import type { Engine } from '../runtime/session.ts';
import { accumulated, type Images, meanOverImages, type SensitivityOptions } from './accumulate.ts';
import { accumulate } from './accumulator.ts';

/** A layer that reads a weight. */
interface Reader {
  readonly input: Value;
  /** Of the input. */
  readonly channelAxis: number;
  /** The input channel that an element of the weight is multiplied with, by its first two indices. */
  readonly channelOf: (first: number, second: number) => number;
}

/**
 * The Euclidean norm of the input channel that each element of a weight is multiplied with: over all tokens or places of an
 * image, the root of the mean square over images ("A Simple and Effective Pruning Approach for Large Language Models",
 * ICLR 2024: Wanda). No labels are looked at.
 * @returns of the shape of each parameter; without those that no Linear or Conv reads
 * @throws UserError when there are no images
 */
export async function inputNorms(
  engine: Engine,
  model: Graph,
  parameters: readonly Value[],
  batches: AsyncIterable<Images>,
  options: SensitivityOptions = {},
): Promise<Map<Value, Tensor>> {
  const { graph, values } = model.clone();
  if (graph.inputs.length !== 1) throw new UserError('importance by inputs needs a model with one input');
  const readers = readersIn(graph);
  const read = parameters.filter((parameter) => readers.has(values.get(parameter)!));
  const readersOf = (parameter: Value) => readers.get(values.get(parameter)!)!;
  const b = new Builder(graph);
  const shapes = read.map((parameter) => [channelsOf(readersOf(parameter)[0]!)]);
  const squares = read.map((parameter) =>
    readersOf(parameter)
      .map((reader) => channelSquares(b, reader))
      .reduce((sum, more) => b.op('Add', [sum, more])),
  );
  const accumulator = accumulate(graph, squares, shapes, undefined);
  const sums = await accumulated(engine, () => accumulator, batches, options, meanOverImages);
  return new Map(
    read.map((parameter, i) => [
      parameter,
      spread(sums[i]!.floats.map(Math.sqrt), parameter.staticShape, readersOf(parameter)[0]!),
    ]),
  );
}

const channelsOf = ({ input, channelAxis }: Reader): number => input.shape!.at(channelAxis) as number;

/** Linears and convolutions whose input has a known number of channels, by weight. */
function readersIn(graph: Graph): Map<Value, Reader[]> {
  const found = new Map<Value, Reader[]>();
  const add = (weight: Value, reader: Reader) => {
    if (typeof reader.input.shape?.at(reader.channelAxis) !== 'number') return;
    found.set(weight, [...(found.get(weight) ?? []), reader]);
  };
  for (const { weight, input, layout } of linears(graph)) {
    const channelOf = layout === 'out,in' ? (_: number, second: number) => second : (first: number) => first;
    add(weight, { input, channelAxis: -1, channelOf });
  }
  for (const node of graph.nodes) if (node.op === 'Conv') add(node.input(1), convolution(node));
  return found;
}

function convolution(node: Node): Reader {
  const { group } = argumentsOf<'Conv'>(node);
  const [outputs, inputs] = node.input(1).staticShape as [number, number];
  const groupOf = (output: number) => Math.floor((output * group) / outputs);
  return {
    input: node.input(0),
    channelAxis: 1,
    channelOf: (output, input) => groupOf(output) * inputs + input,
  };
}

/** Sums of squares over everything but the channels. */
function channelSquares(b: Builder, { input, channelAxis }: Reader): Value {
  const rank = input.shape!.length;
  const axes = Array.from({ length: rank }, (_, axis) => axis).filter(
    (axis) => axis !== (channelAxis + rank) % rank,
  );
  return b.op('ReduceSumSquare', [input, b.ints(axes)], { keepdims: 0 });
}

/** A number for each channel, as a tensor of the weight's shape. */
function spread(norms: Float32Array, shape: readonly number[], { channelOf }: Reader): Tensor {
  const [rows, columns, ...rest] = shape as [number, number, ...number[]];
  const places = rest.reduce((product, length) => product * length, 1);
  const found = new Float32Array(rows * columns * places);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const start = (row * columns + column) * places;
      found.fill(norms[channelOf(row, column)]!, start, start + places);
    }
  }
  return Tensor.float32(shape, found);
}
