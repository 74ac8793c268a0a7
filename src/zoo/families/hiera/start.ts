import { type LinearStart, pytorchStart, xavierStart } from '../../layers/layers.ts';
import type { Initializer } from '../../parameter-source.ts';
import type { HieraArgs } from './arguments.ts';

const zeros: Initializer = { kind: 'constant', value: 0 };

/** As timm's `init_weight_vit` and `init_weight_jax`, and PyTorch itself. */
const starts: Record<HieraArgs['weight_init'], LinearStart> = {
  '': () => ({ weight: { kind: 'normal', std: 0.02 }, bias: { kind: 'constant', value: 0.02 } }),
  jax: xavierStart,
  skip: pytorchStart,
};

function scaled(start: Initializer, factor: number): Initializer {
  if (start.kind === 'normal') return { ...start, std: start.std * factor };
  if (start.kind === 'uniform') return { ...start, bound: start.bound * factor };
  return start;
}

/** How Linears start: what goes back into the residuals by its depth, the head at zero where timm starts it at all. */
export function linearStart({ weight_init, fix_init, head_init_scale }: HieraArgs): LinearStart {
  return (name, inputs, outputs) => {
    const { weight, bias } = starts[weight_init](name, inputs, outputs);
    if (name === 'head.fc') {
      if (weight_init !== 'skip') return { weight: zeros, bias: zeros };
      return { weight: scaled(weight, head_init_scale), bias: scaled(bias, head_init_scale) };
    }
    const depth = fix_init && /^blocks\.(\d+)\.(?:attn\.proj|mlp\.fc2)$/.exec(name)?.[1];
    return { weight: depth ? scaled(weight, (2 * (Number(depth) + 1)) ** -0.5) : weight, bias };
  };
}

/** How the patch embedding starts; undefined: as any convolution. */
export function patchStart({ weight_init, patch_kernel: [height, width], in_chans }: HieraArgs) {
  if (weight_init === 'skip') return {};
  if (weight_init === '') return { weightInitializer: { kind: 'normal', std: 0.02 } as const };
  const std = (in_chans * height * width) ** -0.5 / deviationOfCutNormal;
  return { weightInitializer: { kind: 'truncatedNormal', std } as const, biasInitializer: zeros };
}

/** Of a standard normal cut at 2 on both sides. */
const deviationOfCutNormal = 0.87962566103423978;
