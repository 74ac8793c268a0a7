import { UserError } from '../../common/errors.ts';
import type { Value } from '../../graph/graph.ts';
import type { Initializer } from '../parameter-source.ts';
import { type ActivationName, layerArgument, type NormSpec } from './layer-spec.ts';
import { type Layers, type LinearOptions, lastDim, linearInitializer } from './layers.ts';

export interface MlpSpec {
  kind: 'Mlp' | 'GluMlp' | 'SwiGLU' | 'GeGluMlp';
  activation: ActivationName;
  /** GluMlp: the second half of the hidden units is the gate. */
  gateLast: boolean;
  /** Whether gates start as any Linear of the model does, instead of open. */
  plainStart?: boolean;
}

export interface MlpOptions {
  hidden: number;
  bias: boolean;
  /** Norm of the hidden units; a GeGluMlp, which always has one, norms what goes in. */
  norm: NormSpec | undefined;
  /** Channels of what comes out; default: as many as went in. */
  outputs?: number;
  /** The scope it is in; default `mlp`. */
  name?: string;
}

/** timm starts gates open: almost no weight and a bias of 1. */
const gateWeight: Initializer = { kind: 'normal', std: 1e-6 };
const gateBias: Initializer = { kind: 'constant', value: 1 };

type Hidden = (layers: Layers, x: Value, spec: MlpSpec, options: MlpOptions) => Value;

/** How each MLP of timm makes its hidden units from its input. */
const hiddenLayers: Record<MlpSpec['kind'], Hidden> = {
  Mlp(layers, x, { activation }, { hidden, bias }) {
    return layers.activation(layers.linear('fc1', x, hidden, { bias }), activation);
  },
  /** One projection, one half gating the other ("GLU Variants Improve Transformer", arXiv 2002.05202). */
  GluMlp(layers, x, { activation, gateLast, plainStart }, { hidden, bias }) {
    const b = layers.builder;
    const start: LinearOptions = {
      weightInitializer: { kind: 'halves', first: linearInitializer, second: gateWeight },
      biasInitializer: { kind: 'halves', first: { kind: 'constant', value: 0 }, second: gateBias },
    };
    const both = layers.linear('fc1', x, hidden, { bias, ...(plainStart ? {} : start) });
    const cut = b.node('Split', [both], { axis: -1, num_outputs: 2 }, 2, 'half');
    const [first, second] = [cut.output(0), cut.output(1)];
    const gate = layers.activation(gateLast ? second : first, activation);
    return b.op('Mul', [gate, gateLast ? first : second], {}, 'gated');
  },
  /** The same with two projections. */
  SwiGLU(layers, x, { activation, plainStart }, { hidden, bias }) {
    const start: LinearOptions = { weightInitializer: gateWeight, biasInitializer: gateBias };
    const gate = layers.linear('fc1_g', x, hidden, { bias, ...(plainStart ? {} : start) });
    const value = layers.linear('fc1_x', x, hidden, { bias });
    return layers.builder.op('Mul', [layers.activation(gate, activation), value], {}, 'gated');
  },
  /** The same behind a norm of its own, as ViTamin has it. */
  GeGluMlp(layers, x, { activation }, { hidden, bias, norm = { kind: 'layer', epsilon: 1e-6 } }) {
    const normed = layers.norm('norm', x, norm);
    const gate = layers.activation(layers.linear('w0', normed, hidden, { bias }), activation);
    return layers.builder.op('Mul', [gate, layers.linear('w1', normed, hidden, { bias })], {}, 'gated');
  },
};

const kinds = Object.keys(hiddenLayers) as MlpSpec['kind'][];

/** The MLP that `mlp_layer` names; absent: two Linears. @throws UserError on another name */
export function mlpSpec(value: unknown, activation: ActivationName): MlpSpec {
  if (value === undefined || value === null) return { kind: 'Mlp', activation, gateLast: true };
  const { name, kwargs } = layerArgument('mlp_layer', value);
  if (name === 'SwiGLUPacked') return { kind: 'GluMlp', activation, gateLast: false };
  const kind = kinds.find((known) => known === name);
  if (!kind) {
    throw new UserError(`mlp_layer "${name}" is not supported; use one of ${kinds.join(', ')}, SwiGLUPacked`);
  }
  return { kind, activation, gateLast: kwargs.gate_last !== false };
}

/** The MLP of a transformer block, `[..., C] -> [..., outputs]`. */
export function mlp(layers: Layers, x: Value, spec: MlpSpec, options: MlpOptions): Value {
  const width = options.outputs ?? lastDim(x);
  return layers.scope(options.name ?? 'mlp', () => {
    const hidden = hiddenLayers[spec.kind](layers, x, spec, options);
    if (spec.kind === 'GeGluMlp') return layers.linear('w2', hidden, width, { bias: options.bias });
    const normed = options.norm ? layers.norm('norm', hidden, options.norm) : hidden;
    return layers.linear('fc2', normed, width, { bias: options.bias });
  });
}

/** timm's `Mlp` with its usual arguments: two Linears with biases around an activation. */
export const plainMlp = (
  layers: Layers,
  x: Value,
  hidden: number,
  activation: ActivationName = 'gelu',
  name = 'mlp',
): Value =>
  mlp(layers, x, { kind: 'Mlp', activation, gateLast: true }, { hidden, bias: true, norm: undefined, name });
