import type { Graph, Node, Value } from '../graph/graph.ts';
import { argumentsOf } from '../graph/schema/arguments.ts';

/** Sizes of one block. What a block does not have, or can't be told, is null. */
export interface BlockShape {
  name: string;
  embedDim: number | null;
  numHeads: number | null;
  /** Channels of a query head. */
  headDim: number | null;
  /** Outputs of the MLP's first layer, gates included. */
  mlpHidden: number | null;
}

/** Shape of a tensor of the block, by its name in the block (`norm1.weight`). */
export type ShapeInBlock = (name: string) => readonly number[] | undefined;

/** Where the sizes of a family's blocks are seen. */
export interface BlockReading {
  /** Matches the names of what is in a block, at their start; group 1 is the block's name. */
  readonly block: RegExp;
  embedDim(shapeOf: ShapeInBlock): number | undefined;
  mlpHidden(shapeOf: ShapeInBlock, embedDim: number | undefined): number | undefined;
}

/** The first axis of the first of some tensors that the block has. */
export function firstLength(shapeOf: ShapeInBlock, names: readonly string[]): number | undefined {
  for (const name of names) {
    const length = shapeOf(name)?.[0];
    if (length !== undefined) return length;
  }
  return undefined;
}

/**
 * A reading for blocks that are alike: the width is the length of a vector, the hidden units that of another.
 * @param embedDim names in the block, the first that is there counts; `hidden` likewise
 */
export function vectorReading(
  block: RegExp,
  embedDim: readonly string[],
  hidden: readonly string[],
): BlockReading {
  return {
    block,
    embedDim: (shapeOf) => firstLength(shapeOf, embedDim),
    mlpHidden: (shapeOf) => firstLength(shapeOf, hidden),
  };
}

/**
 * Outputs of the first layer of an MLP, by its bias where it has one, float or quantized; else the axis of a weight
 * that is not the embedding.
 * @param layers names of that layer, of which the block has one
 */
export function mlpUnits(
  shapeOf: ShapeInBlock,
  embedDim: number | undefined,
  layers: readonly string[],
): number | undefined {
  const fromBias = firstLength(
    shapeOf,
    layers.map((layer) => `${layer}.bias`),
  );
  if (fromBias !== undefined) return fromBias;
  const [rows, columns] =
    layers.map((layer) => shapeOf(`${layer}.weight`)).find((shape) => shape !== undefined) ?? [];
  return rows === embedDim ? columns : rows;
}

/** The blocks of a graph by the names of its constants, heads by the attention in each. */
export function measuredBlocks(graph: Graph, reading: BlockReading): BlockShape[] {
  const blocks = new Map<string, Map<string, readonly number[]>>();
  for (const value of graph.constants.values()) {
    const name = reading.block.exec(value.name)?.[1];
    if (name === undefined) continue;
    const own = blocks.get(name) ?? new Map<string, readonly number[]>();
    blocks.set(name, own.set(value.name.slice(name.length + 1), value.tensor!.shape));
  }
  const attentions = new Map<string, Node>();
  for (const node of graph.nodes) {
    if (!Object.hasOwn(attentionSizes, node.op)) continue;
    const name = reading.block.exec(node.output(0).name)?.[1];
    if (name !== undefined && !attentions.has(name)) attentions.set(name, node);
  }
  return [...blocks].map(([name, own]) => {
    const shapeOf: ShapeInBlock = (suffix) => own.get(suffix);
    const embedDim = reading.embedDim(shapeOf);
    const attention = attentions.get(name);
    const [numHeads, headDim] = attention ? attentionSizes[attention.op]!(attention) : [];
    return {
      name,
      embedDim: embedDim ?? null,
      numHeads: numHeads ?? null,
      headDim: headDim ?? null,
      mlpHidden: reading.mlpHidden(shapeOf, embedDim) ?? null,
    };
  });
}

/**
 * The product of queries and keys that a Softmax is of: what is added to it (a bias by position, a mask), and what
 * mixes the heads (a Linear over them, a convolution) is stepped over.
 */
export function scoreProduct(softmax: Node): Node | undefined {
  let producer = softmax.input(0).producer;
  while (producer && (['Add', 'Reshape', 'Transpose', 'Conv'].includes(producer.op) || ofWeight(producer))) {
    producer = producer.inputs.find((value) => value?.producer)?.producer;
  }
  return producer;
}

/** Whether a product is with a constant, transposed or not. */
function ofWeight(node: Node): boolean {
  if (node.op !== 'MatMul') return false;
  const weight = node.input(1);
  return weight.tensor !== undefined || weight.producer?.inputs[0]?.tensor !== undefined;
}

/** Heads and head width where scores `[..., H, T, T]` are scaled, by the values they weigh. */
function weighedSizes(softmax: Node): readonly [number | undefined, number | undefined] {
  const values = softmax
    .output(0)
    .uses.find(({ node }) => node.op === 'MatMul')
    ?.node.input(1);
  return [axis(softmax.input(0), -3), axis(values, -1)];
}

/**
 * Blocks with the head widths of attention between channels: the product behind the scores is over tokens there, and
 * the width of a head is the scores' own.
 * @param softmaxes matches the names of what such attentions' softmaxes make; what attends else is left as it is
 */
export function channelHeads(graph: Graph, blocks: readonly BlockShape[], softmaxes: RegExp): BlockShape[] {
  const outputs = graph.nodes.filter(({ op }) => op === 'Softmax').map((node) => node.output());
  return blocks.map((block) => {
    const own = outputs.find(({ name }) => name.startsWith(`${block.name}.`) && softmaxes.test(name));
    const width = axis(own, -1);
    return width === undefined ? block : { ...block, headDim: width };
  });
}

type Sizes = (node: Node) => readonly [number | undefined, number | undefined];
const known = (value: unknown) => (typeof value === 'number' ? value : undefined);
const axis = (value: Value | undefined, index: number) => known(value?.shape?.at(index));

/** Ops that mark an attention, and where its heads and head width are seen. */
const attentionSizes: Record<string, Sizes> = {
  Softmax(node) {
    const product = scoreProduct(node);
    if (product?.op === 'Mul') return weighedSizes(node);
    return [axis(product?.outputs[0] ?? node.input(0), -3), axis(product?.inputs[0], -1)];
  },
  'com.microsoft.MultiHeadAttention'(node) {
    const { num_heads: heads } = argumentsOf<'com.microsoft.MultiHeadAttention'>(node);
    const width = axis(node.input(0), -1);
    return [heads, width === undefined ? undefined : width / heads];
  },
};
