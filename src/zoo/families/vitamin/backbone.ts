import type { Value } from '../../../graph/graph.ts';
import { conv, fanOutStart, halfPadding } from '../../layers/convolution.ts';
import type { NormSpec } from '../../layers/layer-spec.ts';
import { dimOf, type Layers } from '../../layers/layers.ts';
import { averagePool } from '../../layers/pool.ts';

/** What timm's `VitCfg` says of the convolutions. */
export interface ConvStages {
  stem: number;
  /** Channels of the two stages, and of the patches. */
  widths: readonly [number, number, number];
  depths: readonly [number, number];
}

const norm: NormSpec = { kind: 'layer', epsilon: 1e-6 };

/** A convolution that starts at N(0, 2 / fan out); channels are all groups where `depthwise`. */
function started(
  layers: Layers,
  name: string,
  x: Value,
  channels: number,
  { kernel, stride = 1, depthwise = false }: { kernel: number; stride?: number; depthwise?: boolean },
): Value {
  const groups = depthwise ? channels : 1;
  const padding = halfPadding(kernel, stride);
  return conv(layers, name, x, channels, {
    kernel,
    stride,
    padding,
    groups,
    ...fanOutStart(kernel, channels, groups),
  });
}

/** The image at half its size and `width` channels. */
function shortcut(layers: Layers, x: Value, width: number, stride: number): Value {
  if (stride === 1) {
    return dimOf(x, 1) === width ? x : started(layers, 'shortcut', x, width, { kernel: 1 });
  }
  const pooled = averagePool(layers, x, { kernel: 3, stride, padding: 1, countPadding: false });
  if (dimOf(x, 1) === width) return pooled;
  return started(layers, 'shortcut.expand', pooled, width, { kernel: 1 });
}

/** An inverted bottleneck of four times the channels, behind a norm. */
function block(layers: Layers, x: Value, width: number, stride: number): Value {
  const around = shortcut(layers, x, width, stride);
  const active = (value: Value, name: string) => layers.scope(name, () => layers.activation(value, 'gelu'));
  let y = layers.channelNorm('pre_norm', x, norm);
  y = active(started(layers, 'conv1_1x1', y, 4 * width, { kernel: 1 }), 'act1');
  y = active(started(layers, 'conv2_kxk', y, 4 * width, { kernel: 3, stride, depthwise: true }), 'act2');
  y = started(layers, 'conv3_1x1', y, width, { kernel: 1 });
  return layers.builder.op('Add', [y, around], {}, 'residual');
}

/** timm's `MbConvStages`: a stem, two stages and a strided convolution, each at half the size of what it sees. */
export function convStages(layers: Layers, image: Value, { stem, widths, depths }: ConvStages): Value {
  let x = layers.scope('stem', () => {
    const first = started(layers, 'conv1', image, stem, { kernel: 3, stride: 2 });
    const active = layers.activation(layers.channelNorm('norm1', first, norm), 'gelu');
    return started(layers, 'conv2', active, stem, { kernel: 3 });
  });
  depths.forEach((depth, stage) => {
    for (let i = 0; i < depth; i++) {
      x = layers.scope(`stages.${stage}.${i}`, () => block(layers, x, widths[stage]!, i === 0 ? 2 : 1));
    }
  });
  return layers.scope('pool', () => {
    const normed = layers.channelNorm('norm', x, norm);
    return conv(layers, 'proj', normed, widths[2], { kernel: 3, stride: 2, padding: 1 });
  });
}
