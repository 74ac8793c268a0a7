import type { Graph, Value } from '../../../graph/graph.ts';

import { classifierHead } from '../../layers/head.ts';
import { dimOf, Layers, type LinearStart } from '../../layers/layers.ts';
import { makeDivisible } from '../../layers/widths.ts';
import type { ModelArgs } from '../../model-args.ts';
import type { ParameterSource } from '../../parameter-source.ts';
import { mobileVitArgs } from './arguments.ts';
import { bottleneck, convUnit, linearTransformerBlock, transformerBlock } from './blocks.ts';

const linearStart: LinearStart = () => ({
  weight: { kind: 'normal', std: 0.01 },
  bias: { kind: 'constant', value: 0 },
});

/**
 * timm's MobileViT and MobileViT V2 (arXiv 2110.02178 and 2206.02680), which it makes as ByobNets: inverted
 * bottlenecks, and blocks that attend between pixels in the same place of their patches. Output `logits`
 * `[N, classes]`, the pooled features with `num_classes` 0.
 * @throws UserError on arguments that no MobileViT has
 */
export function buildMobileVit(modelArgs: ModelArgs, source: ParameterSource): Graph {
  const args = mobileVitArgs(modelArgs);
  const { activation, width_factor, num_classes: classes } = args;
  const layers = new Layers('ByobNet', source, linearStart);
  const stem = { kernel: 3, stride: 2 };
  let x: Value = layers.images(args.in_chans, args.img_size);
  x = convUnit(layers, 'stem', x, Math.round(args.stem_chs * width_factor), stem, activation);
  args.stages.forEach((runs, i) => {
    let j = 0;
    for (const run of runs) {
      const channels = makeDivisible(run.channels * width_factor);
      for (let k = 0; k < run.repeat; k++) {
        const inner = makeDivisible(dimOf(x, 1) * run.ratio);
        const stride = j === 0 ? runs[0]!.stride : 1;
        x = layers.scope(`stages.${i}.${j}`, () => {
          if (run.type === 'bottle') return bottleneck(layers, x, { channels, inner, stride, activation });
          const block = run.type === 'mobilevit' ? transformerBlock : linearTransformerBlock;
          return block(layers, x, {
            channels,
            inner: run.transformerDim ?? inner,
            depth: run.transformerDepth,
            patch: run.patchSize,
            activation,
          });
        });
        j++;
      }
    }
  });
  if (args.num_features > 0) {
    const features = Math.round(args.num_features * width_factor);
    x = convUnit(layers, 'final_conv', x, features, { kernel: 1 }, activation);
  }
  return layers.finish(classifierHead(layers, 'head', x, { classes, pool: args.global_pool, axes: [2, 3] }));
}
