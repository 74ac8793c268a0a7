import { Builder } from '../graph/builder.ts';
import { normalizeAxis } from '../graph/dim.ts';
import { Graph, type Node, type Value } from '../graph/graph.ts';
import { type Linear, linears } from '../graph/linear.ts';
import { argumentsOf, isComputed } from '../graph/schema/arguments.ts';
import { axesOf, permutationOf, reducedAxes } from '../graph/schema/axes.ts';
import { Tensor } from '../graph/tensor.ts';
import { type Engine, runOnce, type Tensors } from '../runtime/session.ts';
import { columnsOf } from './weight-rounding.ts';

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
): Promise<{ graph: Graph; migrated: string[] }> {
  const { graph } = source.clone();
  const places = placesOf(graph);
  const migrated: string[] = [];
  if (places.length === 0) return { graph, migrated };
  const sizes = await channelSizes(engine, graph, places, batches);
  for (const [i, { norm, readers }] of places.entries()) {
    const factors = await bestFactors(engine, readers, sizes[i]!);
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
 * activations (both over 12, which is left out).
 */
async function bestFactors(
  engine: Engine,
  readers: readonly Linear[],
  { largest, squares }: ChannelSizes,
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
  const errors = [ones, ...candidates].map((factors) => {
    const range = b.op('ReduceMax', [b.op('Div', [a, factors])], { keepdims: 0 });
    const step = b.op('Div', [b.op('Mul', [range, b.scalar(2)]), b.scalar(255)]);
    const energy = b.op('ReduceSum', [b.op('Div', [m, b.op('Mul', [factors, factors])])], { keepdims: 0 });
    const parts = weights.map((weight) => {
      const scaled = b.op('Mul', [weight, b.op('Unsqueeze', [factors, b.ints([1])])]);
      const steps = b.op('Div', [size(scaled, 0), b.scalar(127.5)]);
      return b.op('Add', [
        b.op('Mul', [b.op('Mul', [step, step]), b.op('ReduceSumSquare', [scaled], { keepdims: 0 })]),
        b.op('Mul', [energy, b.op('ReduceSumSquare', [steps], { keepdims: 0 })]),
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
