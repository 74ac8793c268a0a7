import { type ConvOptions, fanOutStart } from '../../layers/convolution.ts';
import { type LinearStart, pytorchStart } from '../../layers/layers.ts';
import type { Initializer } from '../../parameter-source.ts';

/** How timm's MaxxVit starts weights; '' leaves PyTorch's own. */
export const weightSchemes = ['', 'normal', 'trunc_normal', 'xavier_normal', 'vit_eff'] as const;
export type WeightScheme = (typeof weightSchemes)[number];

type Start = Pick<ConvOptions, 'weightInitializer' | 'biasInitializer'>;

const zero: Initializer = { kind: 'constant', value: 0 };

/** What schemes do alike in convolutions and in transformers. */
function common(scheme: WeightScheme, fans: number): Start | undefined {
  const starts: Partial<Record<WeightScheme, Initializer>> = {
    normal: { kind: 'normal', std: 0.02 },
    trunc_normal: { kind: 'truncatedNormal', std: 0.02 },
    xavier_normal: { kind: 'normal', std: Math.sqrt(2 / fans) },
  };
  const weightInitializer = starts[scheme];
  return weightInitializer && { weightInitializer, biasInitializer: zero };
}

/** A convolution with a square kernel, in a block of convolutions or the stem. */
export function convStart(
  scheme: WeightScheme,
  {
    kernel,
    inputs,
    outputs,
    groups = 1,
  }: { kernel: number; inputs: number; outputs: number; groups?: number },
): Start {
  if (scheme === '') return {};
  const area = kernel * kernel;
  return common(scheme, area * (inputs / groups + outputs / groups)) ?? fanOutStart(kernel, outputs, groups);
}

/** A Linear or a 1x1 convolution of a transformer. */
export function transformerStart(
  scheme: WeightScheme,
  inputs: number,
  outputs: number,
  inMlp: boolean,
): Start {
  if (scheme === '') return {};
  return (
    common(scheme, inputs + outputs) ?? {
      weightInitializer: { kind: 'uniform', bound: Math.sqrt(6 / (inputs + outputs)) },
      biasInitializer: inMlp ? { kind: 'normal', std: 1e-6 } : zero,
    }
  );
}

/** Linears of the model: those of transformers as the scheme says, the head as PyTorch starts it. */
export const linearStart =
  (scheme: WeightScheme): LinearStart =>
  (name, inputs, outputs) => {
    const plain = pytorchStart(name, inputs, outputs);
    if (name.startsWith('head.')) return plain;
    const start = transformerStart(scheme, inputs, outputs, name.includes('mlp'));
    return {
      weight: start.weightInitializer ?? plain.weight,
      bias: start.biasInitializer ?? plain.bias,
    };
  };
