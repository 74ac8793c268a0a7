import { Builder } from '../graph/builder.ts';
import { normalizeAxis } from '../graph/dim.ts';
import { Graph, type Node, type Value } from '../graph/graph.ts';
import { type Linear, linears } from '../graph/linear.ts';
import { argumentsOf, isComputed } from '../graph/schema/arguments.ts';
import { axesOf, permutationOf, reducedAxes } from '../graph/schema/axes.ts';
import { Tensor } from '../graph/tensor.ts';
import { type Engine, runOnce, type Tensors } from '../runtime/session.ts';
import { columnsOf } from './weight-rounding.ts';

/** What activations and weights are rounded to, as far as choosing factors goes. */
export interface MigrationGrid {
  /** Numbers that share a scale, along what a layer reads; left out: all of them. */
  readonly block?: number | undefined;
  /** Steps from the least activation to the largest; infinite where they are not rounded. */
  readonly activations: number;
  /** Steps from 0 to a weight's largest. */
  readonly weights: number;
}

/** int8: a scale for all activations, and one for each output's weights. */
export const int8Grid: MigrationGrid = { activations: 255, weights: 127.5 };

/** A norm whose channels only Linears read: what its scale is divided by, their weights can be multiplied with. */
interface Place {
  readonly norm: Node;
  readonly readers: readonly Linear[];
  readonly channels: number;
}

/**
 * A copy of a float32 graph that computes the same, in which the channels that norms hand to Linears differ less in size: each
 * is divided by a factor in the norm's scale and bias, and the weights that read it are multiplied with it. Activations have one
 * scale for all channels in int8, weights one for each output, so that a large channel costs all others their numbers; in
 * the weights it costs little (SmoothQuant, arXiv 2211.10438; RepQ-ViT, arXiv 2212.08254).
 *
 * With a the largest magnitude of a channel and w that of the weights that read it, the factor is a^k / w^(1 - k), k of 0 to
 * 1, rounded to a power of two: then the products are the same, bit for bit. Of the k, and of no change, the one is
 * taken whose rounding errors are the least, by the norms of weights and activations.
 *
 * Not touched are norms that something else reads too, and weights that are used twice.
 *
 * @param batches inputs that the sizes of channels are found on, by the model's input names
 * @returns the graph, and the names of the norms' scales that were changed
 */
export async function migrateScales(
  engine: Engine,
  source: Graph,
  batches: AsyncIterable<Tensors> | Iterable<Tensors>,
  grid: MigrationGrid = int8Grid,
): Promise<{ graph: Graph; migrated: string[] }> {
  const { graph } = source.clone();
  const places = placesOf(graph);
  const migrated: string[] = [];
  if (places.length === 0) return { graph, migrated };
  const sizes = await channelSizes(engine, graph, places, batches);
  for (const [i, { norm, readers }] of places.entries()) {
    const factors = await bestFactors(engine, readers, sizes[i]!, grid);
    if (!factors) continue;
    migrated.push(norm.input(1).name);
    for (const index of [1, 2]) {
      const value = norm.inputs[index];
      if (value) replaceConstant(graph, norm, index, divided(value.tensor!, factors));
    }
    for (const { weight, layout } of readers) {
      graph.setConstant(weight, await multiplied(engine, weight.tensor!, factors, layout));
    }
  }
  return { graph, migrated };
}

function placesOf(graph: Graph): Place[] {
  const byProduct = new Map(linears(graph).map((layer) => [layer.product, layer]));
  return graph.nodes.flatMap((norm) => {
    if (norm.op !== 'LayerNormalization') return [];
    const [scale, bias] = [norm.inputs[1], norm.inputs[2]];
    const channels = scale?.shape?.length === 1 ? scale.shape[0] : undefined;
    const constants = [scale, bias].filter((value) => value !== undefined);
    if (typeof channels !== 'number' || norm.output().shape?.at(-1) !== channels) return [];
    if (!constants.every((value) => value.isConstant && value.dtype === 'float32')) return [];
    if (norm.outputs.slice(1).some((value) => value && value.uses.length > 0)) return [];
    const readers = readersOf(graph, norm.output(), channels, byProduct);
    return readers && readers.length > 0 ? [{ norm, readers, channels }] : [];
  });
}

/** The Linears that alone read a value, through ops that leave its channels in their places; undefined: others do too. */
function readersOf(
  graph: Graph,
  value: Value,
  channels: number,
  byProduct: ReadonlyMap<Node, Linear>,
): Linear[] | undefined {
  if (graph.outputs.includes(value)) return undefined;
  const found: Linear[] = [];
  for (const { node, index } of value.uses) {
    const layer = byProduct.get(node);
    if (layer && index === 0 && usedOnce(layer)) found.push(layer);
    else if (!layer && index === 0 && keepsChannels(node, channels)) {
      const further = readersOf(graph, node.output(), channels, byProduct);
      if (!further) return undefined;
      found.push(...further);
    } else return undefined;
  }
  return found;
}

function usedOnce({ weight, product }: Linear): boolean {
  const operand = product.input(1);
  return weight.dtype === 'float32' && weight.uses.length === 1 && operand.uses.length === 1;
}

/** Ops that move, choose or average positions. */
const movers: Readonly<Record<string, (node: Node, rank: number) => boolean>> = {
  Reshape: () => true,
  Transpose: (node, rank) => permutationOf(argumentsOf<'Transpose'>(node), rank).at(-1) === rank - 1,
  Gather: (node, rank) => normalizeAxis(argumentsOf<'Gather'>(node).axis, rank) !== rank - 1,
  Slice: (node, rank) => {
    const { axes } = argumentsOf<'Slice'>(node);
    return axes !== undefined && !isComputed(axes) && !axesOf(axes, rank)!.includes(rank - 1);
  },
  ReduceMean: (node, rank) => {
    const axes = reducedAxes(argumentsOf<'ReduceMean'>(node), rank);
    return axes !== undefined && !axes.includes(rank - 1);
  },
};

function keepsChannels(node: Node, channels: number): boolean {
  const rank = node.input(0).shape?.length;
  const keeps = Object.hasOwn(movers, node.op) ? movers[node.op] : undefined;
  return (
    rank !== undefined && keeps !== undefined && node.output().shape?.at(-1) === channels && keeps(node, rank)
  );
}

/** Of each channel the largest magnitude and the mean square. */
interface ChannelSizes {
  readonly largest: Float32Array;
  readonly squares: Float32Array;
}

async function channelSizes(
  engine: Engine,
  source: Graph,
  places: readonly Place[],
  batches: AsyncIterable<Tensors> | Iterable<Tensors>,
): Promise<ChannelSizes[]> {
  const { graph, values } = source.clone();
  const b = new Builder(graph);
  const outputs = places.flatMap(({ norm, channels }) => {
    const flat = b.op('Reshape', [values.get(norm.output())!, b.ints([-1, channels])]);
    const largest = b.op('ReduceMax', [b.op('Abs', [flat]), b.ints([0])], { keepdims: 0 });
    return [largest, b.op('ReduceMean', [b.op('Mul', [flat, flat]), b.ints([0])], { keepdims: 0 })];
  });
  graph.outputs.splice(0, Infinity, ...outputs);
  graph.removeDead();
  const session = await engine.load(graph);
  const sizes = places.map(({ channels }) => ({
    largest: new Float32Array(channels),
    squares: new Float32Array(channels),
  }));
  let done = 0;
  try {
    for await (const feeds of batches) {
      const found = await session.run(feeds);
      for (const [i, { largest, squares }] of sizes.entries()) {
        const [peak, square] = [outputs[2 * i]!, outputs[2 * i + 1]!].map(({ name }) => found[name]!.floats);
        for (let c = 0; c < largest.length; c++) {
          largest[c] = Math.max(largest[c]!, peak![c]!);
          squares[c]! += (square![c]! - squares[c]!) / (done + 1);
        }
      }
      done++;
    }
  } finally {
    await session.dispose();
  }
  return sizes;
}

/** How much of the difference goes into the weights, to be tried. */
const shares = [0.25, 0.5, 0.75, 1] as const;

/** Channels that are 0, or weights, count as that share of the largest. */
const least = 1e-4;

/**
 * The factors with the least error; undefined where it is that of no change. Errors, of one layer's outputs, squared: a step
 * of the activations, squared, times the squares of the weights, and a step of each output's weights times the squares of the
 * activations (both over 12, which is left out), block by block.
 */
async function bestFactors(
  engine: Engine,
  readers: readonly Linear[],
  { largest, squares }: ChannelSizes,
  { block = largest.length, activations, weights: weightSteps }: MigrationGrid,
): Promise<Float32Array | undefined> {
  const graph = new Graph('factors');
  graph.opsets.set('', 18);
  const b = new Builder(graph);
  const [a, m] = ['largest', 'squares'].map((name) => graph.addInput(name, 'float32', [largest.length])) as [
    Value,
    Value,
  ];
  const weights = readers.map(({ weight, layout }, i) => {
    const value = graph.addInput(`weight.${i}`, 'float32', weight.staticShape);
    return columnsOf(b, value, layout)[0];
  });
  const size = (value: Value, axis: number) =>
    b.op('ReduceMax', [b.op('Abs', [value]), b.ints([axis])], { keepdims: 0 });
  const floor = (value: Value) =>
    b.op('Max', [
      value,
      b.op('Mul', [b.op('ReduceMax', [value], { keepdims: 0 }), b.scalar(least)]),
      b.scalar(1e-30),
    ]);
  const [x, w] = [
    floor(a),
    floor(weights.map((value) => size(value, 1)).reduce((p, q) => b.op('Max', [p, q]))),
  ];
  const candidates = shares.map((share) => {
    const quotient = b.op('Sub', [
      b.op('Mul', [b.op('Log', [x]), b.scalar(share)]),
      b.op('Mul', [b.op('Log', [w]), b.scalar(1 - share)]),
    ]);
    // Around 1, so that neither side leaves its range.
    const centred = b.op('Sub', [quotient, b.op('ReduceMean', [quotient], { keepdims: 0 })]);
    const exponent = b.op('Round', [b.op('Div', [centred, b.scalar(Math.LN2)])]);
    return b.op('Pow', [b.scalar(2), exponent]);
  });
  const ones = b.op('Pow', [x, b.scalar(0)]);
  const blocks = Math.ceil(largest.length / block);
  const missing = blocks * block - largest.length;
  /** Channels, the first axis, in blocks; what the last one lacks is 0. */
  const inBlocks = (value: Value) => {
    const others = value.staticShape.slice(1);
    const none = others.map(() => 0);
    const whole = missing
      ? b.op('Pad', [value, b.ints([0, ...none, missing, ...none])], { mode: 'constant' })
      : value;
    return b.op('Reshape', [whole, b.ints([blocks, block, ...others])]);
  };
  const within = (op: 'ReduceMax' | 'ReduceSum', value: Value, axes = [1]) =>
    b.op(op, [value, b.ints(axes)], { keepdims: 0 });
  const total = (value: Value) => b.op('ReduceSum', [value], { keepdims: 0 });
  const square = (value: Value) => b.op('Mul', [value, value]);
  const errors = [ones, ...candidates].map((factors) => {
    const range = within('ReduceMax', inBlocks(b.op('Div', [a, factors])));
    const step = b.op('Mul', [range, b.scalar(2 / activations)]);
    const energy = within('ReduceSum', inBlocks(b.op('Div', [m, square(factors)])));
    const parts = weights.map((weight) => {
      const scaled = inBlocks(b.op('Mul', [weight, b.op('Unsqueeze', [factors, b.ints([1])])]));
      const steps = b.op('Div', [within('ReduceMax', b.op('Abs', [scaled])), b.scalar(weightSteps)]);
      return b.op('Add', [
        total(b.op('Mul', [square(step), within('ReduceSum', square(scaled), [1, 2])])),
        total(b.op('Mul', [energy, within('ReduceSum', square(steps))])),
      ]);
    });
    return b.op('Reshape', [parts.reduce((p, q) => b.op('Add', [p, q])), b.ints([1])]);
  });
  const names = [b.op('Concat', errors, { axis: 0 }), ...candidates];
  graph.outputs.push(...names);
  const found = await runOnce(engine, graph, {
    largest: Tensor.float32([largest.length], largest),
    squares: Tensor.float32([squares.length], squares),
    ...Object.fromEntries(readers.map(({ weight }, i) => [`weight.${i}`, weight.tensor!])),
  });
  const [all, ...factors] = names.map(({ name }) => found[name]!.floats);
  const best = all!.indexOf(Math.min(...all!));
  return best > 0 ? factors[best - 1] : undefined;
}

/** Gives one reader of a constant another one. */
function replaceConstant(graph: Graph, node: Node, index: number, tensor: Tensor): void {
  const value = node.input(index);
  if (value.uses.length === 1) graph.setConstant(value, tensor);
  else node.setInput(index, graph.addConstant(graph.uniqueName(value.name), tensor));
}

const divided = ({ shape, floats }: Tensor, factors: Float32Array): Tensor =>
  Tensor.float32(
    shape,
    floats.map((value, c) => value / factors[c]!),
  );

/** A weight whose inputs are multiplied with a factor each. */
async function multiplied(
  engine: Engine,
  weight: Tensor,
  factors: Float32Array,
  layout: Linear['layout'],
): Promise<Tensor> {
  const graph = new Graph('multiply');
  const b = new Builder(graph);
  const w = graph.addInput('weight', 'float32', weight.shape);
  const f = graph.addInput(
    'factors',
    'float32',
    layout === 'out,in' ? [1, factors.length] : [factors.length, 1],
  );
  graph.outputs.push(b.op('Mul', [w, f], {}, 'product'));
  const factor = Tensor.float32(f.staticShape, factors);
  return (await runOnce(engine, graph, { weight, factors: factor })).product!;
}
