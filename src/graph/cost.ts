import { isUnknown } from './dim.ts';
import { contradiction } from './infer.ts';
import { argumentsOf } from './schema/arguments.ts';
import { einsumLabels, einsumLengths } from './schema/einsum.ts';
import { isOpName, type OpArguments, type OpName, rowOf, rowsFor } from './schema/signature.ts';
import type { Dim, Graph, Node, Shape, Value } from './types.ts';

/** Multiply-accumulates of one node, for a batch of one, when its values have these shapes. */
export type CostRule<O extends OpName> = (node: Node, args: OpArguments[O], shapeOf: ShapeOf) => number;

export type ShapeOf = (value: Value) => Shape | undefined;

/** A symbolic axis counts once per image: `197*N` is 197. */
const perImage = (dim: Dim): number =>
  typeof dim === 'number'
    ? dim
    : dim.split('*').reduce((product, part) => (/^\d+$/.test(part) ? product * Number(part) : product), 1);

/** How many elements of a value of this shape belong to one image. */
export const elementsPerImage = (shape: readonly Dim[] | undefined): number =>
  (shape ?? []).reduce<number>((p, d) => p * perImage(d), 1);

/** Every output element is a dot product over the last axis of the first operand. */
const product = (node: Node, args: object, shapeOf: ShapeOf): number => {
  const left = shapeOf(node.input(0)) ?? [];
  const inner = left.at('transA' in args && args.transA ? -2 : -1) ?? 1;
  return elementsPerImage(shapeOf(node.output())) * perImage(inner);
};

const convolution = (node: Node, _args: object, shapeOf: ShapeOf): number => {
  const [, ...window] = shapeOf(node.input(1)) ?? [];
  return elementsPerImage(shapeOf(node.output())) * elementsPerImage(window);
};

/** Multiply-accumulates of the ops that have any worth counting; elementwise work is not counted. */
export const costRules: { readonly [O in OpName]?: CostRule<O> } = {
  ...rowsFor(
    'MatMul com.microsoft.FusedMatMul Gemm MatMulInteger QLinearMatMul com.microsoft.MatMulIntegerToFloat com.microsoft.DynamicQuantizeMatMul com.microsoft.MatMulNBits',
    product,
  ),
  ...rowsFor('Conv ConvInteger', convolution),
  /** Each place of the input meets the whole kernel. */
  ConvTranspose: (node, _args, shapeOf) => {
    const [, ...window] = shapeOf(node.input(1)) ?? [];
    return elementsPerImage(shapeOf(node.input(0))) * elementsPerImage(window);
  },
  Einsum: (node, args, shapeOf) => {
    const shapes = node.inputs.map((input) => shapeOf(input!));
    const labels = einsumLabels(node, args);
    if (!labels || shapes.some((shape) => !shape)) return 0;
    return elementsPerImage([...einsumLengths(labels, shapes as Shape[]).values()]);
  },
  'com.microsoft.MultiHeadAttention': (node, _args, shapeOf) => {
    const [, queries = 1, width = 1] = shapeOf(node.input(0)) ?? [];
    const [, keys = 1, valueWidth = 1] = shapeOf(node.input(2)) ?? [];
    return perImage(queries) * perImage(keys) * (perImage(width) + perImage(valueWidth));
  },
};

/**
 * Nodes that run for each image: they see the model's inputs (what is made of constants alone is computed once, when
 * a model is loaded), and its outputs see them.
 */
function runningNodes(graph: Graph): Node[] {
  const needed = reached(
    graph.outputs.flatMap(({ producer }) => producer ?? []),
    ({ inputs }) => inputs.flatMap((value) => value?.producer ?? []),
  );
  const users = (values: readonly (Value | undefined)[]) =>
    values.flatMap((value) => [...(value?.uses ?? [])].map(({ node }) => node));
  const dependent = reached(users(graph.inputs.filter((input) => !input.isConstant)), ({ outputs }) =>
    users(outputs),
  );
  return graph.nodes.filter((node) => needed.has(node) && dependent.has(node));
}

function reached(from: readonly Node[], next: (node: Node) => readonly Node[]): Set<Node> {
  const found = new Set<Node>(from);
  const pending = [...found];
  for (let node = pending.pop(); node; node = pending.pop()) {
    for (const other of next(node)) {
      if (found.has(other)) continue;
      found.add(other);
      pending.push(other);
    }
  }
  return found;
}

/** Ops that multiply, and have no rule, whatever domain they are of. */
const unknownCost = new Set('LSTM GRU RNN If Loop Scan DeformConv Attention FusedConv FusedGemm'.split(' '));

/** Nodes whose work `countMacs` does not know, or knows too little of: it is then too low. */
export const uncountedNodes = (graph: Graph): Node[] =>
  runningNodes(graph).filter((node) => {
    if (!rowOf(costRules, node)) return unknownCost.has(node.opType) || !isOpName(node.op);
    const values = [...node.inputs, ...node.outputs].filter((value) => value !== undefined);
    return values.some(({ shape }) => !shape || shape.some(isUnknown));
  });

/** Multiply-accumulates of each node that has any, and for how many images at a time. */
function counted(graph: Graph, shapeOf: ShapeOf): { macs: Map<Node, number>; images: number } {
  const first = graph.inputs.find((input) => !input.isConstant)?.shape?.[0];
  const macs = new Map<Node, number>();
  for (const node of runningNodes(graph)) {
    const rule = rowOf(costRules, node) as CostRule<OpName> | undefined;
    if (!rule) continue;
    try {
      macs.set(node, rule(node, argumentsOf(node), shapeOf));
    } catch (error) {
      throw contradiction(node, error);
    }
  }
  return { macs, images: typeof first === 'number' ? first : 1 };
}

/**
 * Multiply-accumulates of one forward pass of one image; of a model that takes several at a time, what there is for each.
 * @param shapeOf the shapes to count with; default: those that were inferred
 */
export function countMacs(graph: Graph, shapeOf: ShapeOf = (value) => value.shape): number {
  const { macs, images } = counted(graph, shapeOf);
  return [...macs.values()].reduce((total, one) => total + one, 0) / images;
}

/**
 * Multiply-accumulates of the nodes that have fewer with other shapes, for one image.
 * @param shapesOf other shapes, a row each
 */
export function macsThatChange(graph: Graph, shapesOf: readonly ShapeOf[]): number[] {
  const { macs, images } = counted(graph, (value) => value.shape);
  return shapesOf.map((shapeOf) => {
    const changed = counted(graph, shapeOf).macs;
    const sum = [...macs].reduce((total, [node, one]) => total + (changed.get(node)! < one ? one : 0), 0);
    return sum / images;
  });
}
