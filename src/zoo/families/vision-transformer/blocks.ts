import type { Value } from '../../../graph/graph.ts';
import {
  attention,
  differentialAttention,
  differentialCore,
  joinHeads,
  scaledDotProduct,
  splitHeads,
} from '../../layers/attention.ts';
import { type Layers, lastDim } from '../../layers/layers.ts';
import { mlp } from '../../layers/mlp.ts';
import { postNormBlock, preNormBlock } from '../../layers/transformer-block.ts';
import type { BlockKind, VisionTransformerArgs } from './arguments.ts';

type Block = (layers: Layers, x: Value, args: VisionTransformerArgs, depth: number) => Value;

const add = (layers: Layers, a: Value, b: Value, name: string) => layers.builder.op('Add', [a, b], {}, name);

/** Python's `int()` of a product. */
const hiddenWidth = (width: number, args: VisionTransformerArgs) => Math.trunc(width * args.mlp_ratio);

function selfAttention(layers: Layers, x: Value, args: VisionTransformerArgs, depth: number): Value {
  const options = {
    heads: args.num_heads,
    qkvBias: args.qkv_bias,
    projBias: args.proj_bias,
    qkNorm: args.qk_norm ? args.norm : undefined,
    scaleNorm: args.scale_attn_norm ? args.norm : undefined,
  };
  return layers.scope('attn', () =>
    args.differential
      ? differentialAttention(layers, x, { ...options, depth })
      : attention(layers, x, options),
  );
}

function feedForward(layers: Layers, x: Value, args: VisionTransformerArgs): Value {
  return mlp(layers, x, args.mlp, {
    hidden: hiddenWidth(lastDim(x), args),
    bias: args.proj_bias,
    norm: args.scale_mlp_norm ? args.norm : undefined,
  });
}

/** Layer scale where `init_values` asks for it; zero means none. */
const scaled = (layers: Layers, name: string, x: Value, { init_values }: VisionTransformerArgs) =>
  init_values ? layers.layerScale(name, x, init_values) : x;

const block: Block = (layers, x, args, depth) =>
  preNormBlock(layers, x, {
    norm: args.norm,
    attend: (normed) => selfAttention(layers, normed, args, depth),
    feed: (normed) => feedForward(layers, normed, args),
    scale: (branch, index) => scaled(layers, `ls${index}`, branch, args),
  });

/** Norms after the branches; `init_values` is where their weights start. */
const resPostBlock: Block = (layers, x, args, depth) =>
  postNormBlock(layers, x, {
    norm: args.norm,
    attend: (tokens) => selfAttention(layers, tokens, args, depth),
    feed: (tokens) => feedForward(layers, tokens, args),
    normInitializer: { kind: 'constant', value: args.init_values ?? 1 },
  });

/**
 * Attention and MLP side by side from one input projection ("Scaling Vision Transformers to 22 Billion
 * Parameters", arXiv 2302.05442). The projection's outputs are the MLP's hidden units, q, k and v.
 */
function parallelInput(layers: Layers, x: Value, args: VisionTransformerArgs) {
  const b = layers.builder;
  const width = lastDim(x);
  const hidden = hiddenWidth(width, args);
  const normed = layers.norm('in_norm', x, args.norm);
  const projected = layers.linear('in_proj', normed, hidden + 3 * width, { bias: args.qkv_bias });
  const cut = b.node(
    'Split',
    [projected, b.ints([hidden, width, width, width])],
    { axis: -1 },
    4,
    'in_split',
  );
  let units = cut.output(0);
  if (!args.qkv_bias) {
    const bias = layers.parameter('mlp_bias', [hidden], { kind: 'constant', value: 0 });
    units = b.op('Add', [units, bias], {}, 'mlp_biased');
  }
  return {
    q: cut.output(1),
    k: cut.output(2),
    v: cut.output(3),
    units: layers.scope('mlp', () => layers.activation(units, args.activation)),
  };
}

const parallelResidual = (layers: Layers, x: Value, branch: Value, { init_values }: VisionTransformerArgs) =>
  add(
    layers,
    x,
    init_values === undefined ? branch : layers.layerScale('ls', branch, init_values),
    'residual',
  );

const parallelScalingBlock: Block = (layers, x, args) => {
  const width = lastDim(x);
  const { q, k, v, units } = parallelInput(layers, x, args);
  const normed = (name: string) => (args.qk_norm ? { name, spec: args.norm } : undefined);
  const context = scaledDotProduct(
    layers,
    splitHeads(layers, q, args.num_heads, normed('q_norm')),
    splitHeads(layers, k, args.num_heads, normed('k_norm')),
    splitHeads(layers, v, args.num_heads),
  );
  const fromAttention = layers.linear('attn_out_proj', joinHeads(layers, context), width, {
    bias: args.proj_bias,
  });
  const fromMlp = layers.linear('mlp_out_proj', units, width, { bias: args.proj_bias });
  return parallelResidual(layers, x, add(layers, fromAttention, fromMlp, 'branches'), args);
};

const diffParallelScalingBlock: Block = (layers, x, args, depth) => {
  const width = lastDim(x);
  const { q, k, v, units } = parallelInput(layers, x, args);
  const [qHeads, kHeads, vHeads] = [q, k, v].map((part) => splitHeads(layers, part, args.num_heads));
  const context = differentialCore(layers, qHeads!, kHeads!, vHeads!, {
    qkNorm: args.qk_norm ? args.norm : undefined,
    depth,
  });
  const both = layers.builder.op('Concat', [joinHeads(layers, context), units], { axis: -1 }, 'branches');
  return parallelResidual(layers, x, layers.linear('out_proj', both, width, { bias: args.proj_bias }), args);
};

/** Two attentions side by side, then two MLPs ("Three things everyone should know about ViTs", arXiv 2203.09795). */
const parallelThingsBlock: Block = (layers, x, args, depth) => {
  const branches = (list: string, input: Value, branch: (normed: Value) => Value) => {
    const outputs = [0, 1].map((i) =>
      layers.scope(`${list}.${i}`, () =>
        scaled(layers, 'ls', branch(layers.norm('norm', input, args.norm)), args),
      ),
    );
    return add(layers, input, add(layers, outputs[0]!, outputs[1]!, `${list}.sum`), `${list}.residual`);
  };
  const attended = branches('attns', x, (normed) => selfAttention(layers, normed, args, depth));
  return branches('ffns', attended, (normed) => feedForward(layers, normed, args));
};

/** timm's `block_fn` classes. */
export const blocks: Record<BlockKind, Block> = {
  Block: block,
  ResPostBlock: resPostBlock,
  ParallelScalingBlock: parallelScalingBlock,
  ParallelThingsBlock: parallelThingsBlock,
  DiffParallelScalingBlock: diffParallelScalingBlock,
};
