import type { Graph, Value } from '../../../graph/graph.ts';
import { Layers, pytorchStart } from '../../layers/layers.ts';
import { globalPools } from '../../layers/pool.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';
import { type EfficientVitArgs, type EfficientVitClass, efficientVitArgs } from './arguments.ts';
import { convolutionUnit, linearAttention, localBlock } from './blocks.ts';

/**
 * timm's EfficientVit and EfficientVitLarge ("EfficientViT: Multi-Scale Linear Attention for High-Resolution Dense
 * Prediction", arXiv 2205.14756): stages of convolutions, then of linear attention and convolutions. Output `logits`
 * `[N, classes]`, the features before the last Linear with `num_classes` 0.
 * @throws UserError on arguments the class does not have or can't combine
 */
export const buildEfficientVit =
  (kind: EfficientVitClass) =>
  (modelArgs: ModelArgs, source: ParameterSource): Graph => {
    const args = efficientVitArgs(kind, modelArgs);
    const layers = new Layers(kind, source, pytorchStart);
    const [width, ...widths] = args.widths as readonly [number, ...number[]];
    const [depth, ...depths] = args.depths as readonly [number, ...number[]];
    const strided = { kernel: 3, stride: 2 };
    let x = layers.scope('stem', () => {
      const images = layers.images(args.in_chans, args.img_size);
      let image = convolutionUnit(layers, 'in_conv', images, width, args, strided);
      for (let j = 0; j < depth; j++) {
        const block = {
          channels: width,
          stride: 1,
          ratio: 1,
          widened: false,
          fewerNorms: false,
          fused: args.large,
        };
        image = residual(layers, `res${j}`, image, (y) => localBlock(layers, y, args, block));
      }
      return image;
    });
    widths.forEach((channels, i) => {
      x = layers.scope(`stages.${i}`, () => stage(layers, x, args, channels, depths[i]!, i));
    });
    return layers.finish(head(layers, x, args));
  };

/** x + body(x), with what is in the body in the scope `NAME.main`. */
function residual(layers: Layers, name: string, x: Value, body: (x: Value) => Value): Value {
  const output = layers.scope(`${name}.main`, () => body(x));
  return layers.builder.op('Add', [output, x], {}, `${name}.residual`);
}

/** What the blocks of a stage are, by timm's two classes. */
function stageOptions(args: EfficientVitArgs, i: number) {
  if (args.large) {
    const attends = i >= 3;
    const fewerNorms = i >= 2;
    const ratio = attends ? 6 : 4;
    return {
      attends,
      first: attends ? 24 : 16,
      ratio,
      firstFewer: fewerNorms,
      fewerNorms,
      fused: !fewerNorms,
    };
  }
  const attends = i >= 2;
  const ratio = args.expand_ratio!;
  return { attends, first: ratio, ratio, firstFewer: attends, fewerNorms: false, fused: false };
}

function stage(
  layers: Layers,
  image: Value,
  args: EfficientVitArgs,
  channels: number,
  depth: number,
  i: number,
): Value {
  const { attends, first, ratio, firstFewer, fewerNorms, fused } = stageOptions(args, i);
  const widened = first !== 1;
  const halving = { channels, stride: 2, ratio: first, widened, fewerNorms: firstFewer, fused };
  let x = layers.scope('blocks.0.main', () => localBlock(layers, image, args, halving));
  /** timm counts the first block where nothing attends in the smaller class. */
  const blocks = attends || args.large ? depth : depth - 1;
  for (let j = 1; j <= blocks; j++) {
    const local = {
      channels,
      stride: 1,
      ratio,
      widened: attends || ratio !== 1,
      fewerNorms: attends || fewerNorms,
      fused: fused && !attends,
    };
    const convolve = (y: Value) => localBlock(layers, y, args, local);
    if (!attends) {
      x = residual(layers, `blocks.${j}`, x, convolve);
      continue;
    }
    x = layers.scope(`blocks.${j}`, () => {
      const attended = residual(layers, 'context_module', x, (y) => linearAttention(layers, y, args));
      return residual(layers, 'local_module', attended, convolve);
    });
  }
  return x;
}

function head(layers: Layers, x: Value, args: EfficientVitArgs): Value {
  const [wide, features] = args.head_widths;
  return layers.scope('head', () => {
    const convolved = convolutionUnit(layers, 'in_conv', x, wide, args, { kernel: 1 });
    const pooled = globalPools[args.global_pool](layers, convolved, [2, 3]);
    return layers.scope('classifier', () => {
      const narrowed = layers.linear('0', pooled, features, { bias: false });
      const normed = layers.norm('1', narrowed, { kind: 'layer', epsilon: args.norm_eps.layer });
      const active = layers.activation(normed, args.activation);
      return args.num_classes > 0 ? layers.linear('4', active, args.num_classes) : active;
    });
  });
}
