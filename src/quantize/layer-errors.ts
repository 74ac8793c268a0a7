import { Builder } from '../graph/builder.ts';
import type { Graph, Value } from '../graph/graph.ts';
import { dataTypes, Tensor } from '../graph/tensor.ts';
import { runInParts } from '../runtime/run-in-parts.ts';
import type { Engine, Tensors } from '../runtime/session.ts';
import { besideLayers } from './beside.ts';
import { channelAxis } from './layer.ts';
import type { Quantization } from './record.ts';

/** What int8 does to one layer on exact inputs. */
export interface LayerError {
  /** Of its weight. */
  readonly name: string;
  /** Of its outputs: the norm of what changes over their own. */
  readonly error: number;
  /** Share of the numbers, zeros not counted, that become 0. */
  readonly lostInputs: number;
  /** The same; where that is under a half, zeros are counted too. */
  readonly lostWeights: number;
  /** The input channel with the largest magnitude, that magnitude, and what half of the channels stay below. */
  readonly channel: number;
  readonly largest: number;
  readonly median: number;
}

/**
 * Runs a float32 model once, and beside each layer that is int8 in `quantized` the integers of that model on the same
 * inputs.
 * @param source the float32 graph that `quantized` was made from
 * @param record what was done to it
 * @returns the model's outputs by name, and each layer in order
 */
export async function layerErrors(
  engine: Engine,
  source: Graph,
  quantized: Graph,
  record: Quantization,
  feeds: Tensors,
): Promise<{ outputs: Tensors; layers: LayerError[] }> {
  const { graph } = source.clone();
  const b = new Builder(graph);
  const weights: Value[] = [];
  const rows: Value[] = [];
  for (const { layer, inputs, weights: integers, off } of besideLayers(b, quantized, record)) {
    const { input, weight, output } = layer;
    const numbers = [
      ...[off, output].map((value) => b.op('ReduceSumSquare', [value], { keepdims: 0 })),
      ...[input, inputs, integers].map((value) => nonZeros(b, value)),
      ...extremes(b, input, channelAxis(layer)),
    ].map((value) => b.op('Reshape', [value, Tensor.int64([1])]));
    weights.push(weight);
    rows.push(b.op('Concat', numbers, { axis: 0 }));
  }
  if (rows.length > 0) graph.outputs.push(b.op('Concat', rows, { axis: 0 }, rowsName));
  const found = await runInParts(engine, graph, feeds);
  const statistics = rows.length > 0 ? found[graph.outputs.at(-1)!.name]!.floats : new Float32Array();
  const width = statistics.length / (weights.length || 1);
  return {
    outputs: Object.fromEntries(source.outputs.map(({ name }) => [name, found[name]!])),
    layers: weights.map((weight, i) => rowOf(weight, statistics.subarray(i * width, (i + 1) * width))),
  };
}

const rowsName = 'pqv.layers';

/** @param weight float32 */
function rowOf({ name, tensor }: Value, numbers: Float32Array): LayerError {
  const [
    off = 0,
    all = 0,
    inputs = 0,
    inputsLeft = 0,
    weightsLeft = 0,
    channel = 0,
    largest = 0,
    median = 0,
  ] = numbers;
  let weights = tensor!.size;
  // Those that were 0 are looked for only where many are.
  if (weightsLeft < weights / 2) {
    weights = tensor!.floats.reduce((sum, value) => sum + Number(value !== 0), 0);
    tensor!.release();
  }
  return {
    name,
    error: off === 0 ? 0 : Math.sqrt(off / all),
    lostInputs: inputs > 0 ? 1 - inputsLeft / inputs : 0,
    lostWeights: weights > 0 ? 1 - weightsLeft / weights : 0,
    channel,
    largest,
    median,
  };
}

const nonZeros = (b: Builder, value: Value): Value =>
  b.op('ReduceL1', [b.op('Sign', [value])], { keepdims: 0 });

/** The channel with the largest magnitude, that magnitude, and the median of all channels'. */
function extremes(b: Builder, input: Value, axis: number): Value[] {
  const channels = input.shape!.at(axis) as number;
  const last = axis === -1 ? input : channelsLast(b, input);
  const flat = b.op('Reshape', [b.op('Abs', [last]), b.ints([-1, channels])]);
  const largest = b.op('ReduceMax', [flat, b.ints([0])], { keepdims: 0 });
  const upper = b.node('TopK', [largest, b.ints([Math.ceil(channels / 2)])], { axis: 0 }, 2).output(0);
  const channel = b.op('ArgMax', [largest], { axis: 0, keepdims: 0 });
  return [
    b.op('Cast', [channel], { to: dataTypes.float32.onnx }),
    b.op('ReduceMax', [largest], { keepdims: 0 }),
    b.op('ReduceMin', [upper], { keepdims: 0 }),
  ];
}

/** Channels, axis 1 of an image, behind its places. */
function channelsLast(b: Builder, image: Value): Value {
  const places = image.shape!.slice(2).map((_, i) => i + 2);
  return b.op('Transpose', [image], { perm: [0, ...places, 1] });
}
