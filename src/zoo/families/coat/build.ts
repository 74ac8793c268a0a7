import type { Graph, Value } from '../../../graph/graph.ts';
import { Layers } from '../../layers/layers.ts';
import { tokensToImage } from '../../layers/layout.ts';
import { patchEmbed } from '../../layers/patch-embed.ts';
import { meanOver, tokenAt, withoutPrefix } from '../../layers/pool.ts';
import { embedTokens } from '../../layers/prefix-tokens.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';
import { type CoatArgs, coatArgs } from './arguments.ts';
import { parallelBlock, type Scale, serialBlock } from './blocks.ts';
import { positionEncoding, relativeEncoding } from './shared-convolutions.ts';

/**
 * timm's CoaT ("Co-Scale Conv-Attentional Image Transformers", arXiv 2104.06399): four scales after one another, and
 * with a `parallel_depth` the last three at once behind them. Output `logits` `[N, classes]`, the pooled features with
 * `num_classes` 0.
 * @throws UserError on arguments the class does not have, or that it can't be run with
 */
export function buildCoat(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = coatArgs(modelArgs);
  const layers = new Layers('CoaT', source);
  const scales = args.grids.map((size, i) => scaleOf(layers, args, i, size));
  const found = serialScales(layers, layers.images(args.in_chans, args.img_size), args, scales);
  const pooled = (x: Value) =>
    args.global_pool === 'avg' ? meanOver(layers, withoutPrefix(layers, x, 1), [1]) : tokenAt(layers, x, 0);
  const features = args.parallel_depth
    ? aggregate(layers, parallelScales(layers, found.slice(1), args, scales.slice(1)).map(pooled))
    : pooled(layers.norm('norm4', found.at(-1)!, args.norm));
  return layers.finish(args.num_classes > 0 ? layers.linear('head', features, args.num_classes) : features);
}

function scaleOf(layers: Layers, args: CoatArgs, index: number, size: Scale['size']): Scale {
  const [number, width] = [index + 1, args.embed_dims[index]!];
  return {
    number,
    size,
    mlpRatio: args.mlp_ratios[index]!,
    position: positionEncoding(layers, `cpe${number}`, width, size),
    relative: relativeEncoding(layers, `crpe${number}`, width / args.num_heads, args.windows, size),
  };
}

/** Tokens `[N, 1 + H*W, C]` of each scale, the patches of each cut from the image of the one before. */
function serialScales(layers: Layers, images: Value, args: CoatArgs, scales: readonly Scale[]): Value[] {
  let image = images;
  return scales.map((scale, index) => {
    const { number, size } = scale;
    const patch = number === 1 ? args.patch_size : 2;
    const width = args.embed_dims[index]!;
    const patches = patchEmbed(layers, `patch_embed${number}`, image, {
      patchSize: [patch, patch],
      width,
      norm: { kind: 'layer', epsilon: 1e-5 },
    });
    const name = `cls_token${number}`;
    const token = layers.parameter(name, [1, 1, width], { kind: 'normal', std: 0.02 });
    let x = layers.scope(`scale${number}`, () => embedTokens(layers, patches, [token], undefined));
    for (let i = 0; i < args.serial_depths[index]!; i++) {
      x = layers.scope(`serial_blocks${number}.${i}`, () => serialBlock(layers, x, args, scale));
    }
    image = layers.scope(`scale${number}`, () => tokensToImage(layers, withoutPrefix(layers, x, 1), size));
    return x;
  });
}

/** Normed tokens of each of some scales. */
function parallelScales(
  layers: Layers,
  found: readonly Value[],
  args: CoatArgs,
  scales: readonly Scale[],
): Value[] {
  let xs = found;
  for (let i = 0; i < args.parallel_depth; i++) {
    xs = layers.scope(`parallel_blocks.${i}`, () =>
      parallelBlock(
        layers,
        xs.map((x, j) => scales[j]!.position(x)),
        args,
        scales,
      ),
    );
  }
  return xs.map((x, i) => layers.norm(`norm${scales[i]!.number}`, x, args.norm));
}

/** A learned sum of the scales' features `[N, C]`; in timm a convolution over three places. */
function aggregate(layers: Layers, features: readonly Value[]): Value {
  const b = layers.builder;
  const count = features.length;
  return layers.scope('aggregate', () => {
    const start = { kind: 'uniform', bound: count ** -0.5 } as const;
    const weight = layers.parameter('weight', [1, count, 1], start);
    const bias = layers.parameter('bias', [1], start);
    const rows = features.map((x) => b.op('Unsqueeze', [x, b.ints([1])], {}, 'row'));
    const joined = b.op('Concat', rows, { axis: 1 }, 'rows');
    const summands = b.op('Squeeze', [weight, b.ints([2])], {}, 'weight_row');
    const summed = b.op('MatMul', [summands, joined], {}, 'matmul');
    return b.op('Squeeze', [b.op('Add', [summed, bias], {}, 'add'), b.ints([1])], {}, 'aggregated');
  });
}
