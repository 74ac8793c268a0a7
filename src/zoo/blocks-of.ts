import type { Graph, Node, Value } from '../graph/graph.ts';

/** Sizes of one transformer block. What can't be told is undefined. */
export interface BlockShape {
  name: string;
  embedDim: number | undefined;
  numHeads: number | undefined;
  /** Channels of a query head. */
  headDim: number | undefined;
  /** Outputs of the MLP's first layer, gates included. */
  mlpHidden: number | undefined;
}

const blockName = /^(.*?\bblocks\.\d+)\./;

/**
 * The blocks of a graph with timm's names, measured on the graph itself, so that it holds after
 * pruning and quantization. A graph without such names has none.
 */
export function blockShapes(graph: Graph): BlockShape[] {
  const constants = new Map<string, Value[]>();
  for (const value of graph.constants.values()) {
    const name = blockName.exec(value.name)?.[1];
    if (name !== undefined) constants.set(name, [...(constants.get(name) ?? []), value]);
  }
  const attentions = new Map<string, Node>();
  for (const node of graph.nodes) {
    if (!attentionSizes[node.op]) continue;
    const name = blockName.exec(node.output(0).name)?.[1];
    if (name !== undefined && !attentions.has(name)) attentions.set(name, node);
  }
  return [...constants].map(([name, owned]) => {
    const embedDim = lengthOf(name, owned, embedVectors);
    const attention = attentions.get(name);
    const sizes = attention && attentionSizes[attention.op]!(attention);
    return {
      name,
      embedDim,
      numHeads: sizes?.[0],
      headDim: sizes?.[1],
      mlpHidden: hiddenUnits(name, owned, embedDim),
    };
  });
}

const embedVectors = ['norm1.weight', 'in_norm.weight', 'attns.0.norm.weight'];
/** Tensors whose first axis, float or quantized, is the MLP's hidden units. */
const hiddenVectors = ['mlp.fc1.bias', 'mlp.fc1_g.bias', 'ffns.0.mlp.fc1.bias', 'mlp_bias'];

function lengthOf(block: string, owned: readonly Value[], suffixes: readonly string[]): number | undefined {
  const found = owned.find(({ name }) => suffixes.includes(name.slice(block.length + 1)));
  return found?.tensor?.shape[0];
}

/** From a bias where there is one; else the axis of the first weight that is not the embedding. */
function hiddenUnits(
  block: string,
  owned: readonly Value[],
  embedDim: number | undefined,
): number | undefined {
  const fromBias = lengthOf(block, owned, hiddenVectors);
  if (fromBias !== undefined) return fromBias;
  const weight = (suffix: string) => owned.find(({ name }) => name === `${block}.${suffix}`)?.tensor?.shape;
  const first = weight('mlp.fc1.weight') ?? weight('mlp.fc1_g.weight') ?? weight('ffns.0.mlp.fc1.weight');
  const last = weight('mlp_out_proj.weight');
  const [rows, columns] = first ?? last ?? [];
  if (rows === undefined || columns === undefined) {
    const joined = weight('out_proj.weight');
    return joined && embedDim !== undefined ? Math.max(...joined) - embedDim : undefined;
  }
  return rows === embedDim ? columns : rows;
}

type Sizes = (node: Node) => readonly [number | undefined, number | undefined];
const known = (value: unknown) => (typeof value === 'number' ? value : undefined);

/** Ops that mark an attention, and where its heads and head width are seen. */
const attentionSizes: Record<string, Sizes> = {
  Softmax(node) {
    const scores = node.input(0);
    const query = scores.producer?.inputs[0];
    return [known(scores.shape?.at(-3)), known(query?.shape?.at(-1))];
  },
  'com.microsoft.MultiHeadAttention'(node) {
    const heads = node.int('num_heads');
    const width = known(node.input(0).shape?.at(-1));
    return [heads, width === undefined ? undefined : width / heads];
  },
};
