import { float } from '../../graph/attribute.ts';
import { Builder } from '../../graph/builder.ts';
import { Graph, type Value } from '../../graph/graph.ts';
import { setBuffers, setParameters } from '../../graph/parameters.ts';
import type { Tensor } from '../../graph/tensor.ts';
import type { Initializer, ParameterSource, StateType } from '../parameter-source.ts';
import type { Positions } from '../resample-positions.ts';
import { setAliases, setCounters } from '../state.ts';
import { type ActivationName, activations, type NormSpec } from './layer-spec.ts';

const zeros: Initializer = { kind: 'constant', value: 0 };
const ones: Initializer = { kind: 'constant', value: 1 };
/** What timm draws the weights of every Linear of a ViT from. */
export const linearInitializer: Initializer = { kind: 'normal', std: 0.02 };

/** How a Linear of a model starts, where the layer that it is in does not say. */
export type LinearStart = (
  name: string,
  inputs: number,
  outputs: number,
) => { weight: Initializer; bias: Initializer };

/** As timm's `init_weights` of most ViTs. */
export const timmStart: LinearStart = () => ({ weight: linearInitializer, bias: zeros });

/** PyTorch's own start, where timm leaves it: U(-1, 1) / sqrt(fan in). */
export const pytorchStart: LinearStart = (_name, inputs) => {
  const start: Initializer = { kind: 'uniform', bound: inputs ** -0.5 };
  return { weight: start, bias: start };
};

/** As timm's `jax` scheme: U(-1, 1) sqrt(6 / (fan in + fan out)), biases of MLPs almost at zero. */
export const xavierStart: LinearStart = (name, inputs, outputs) => ({
  weight: { kind: 'uniform', bound: Math.sqrt(6 / (inputs + outputs)) },
  bias: name.includes('mlp') ? { kind: 'normal', std: 1e-6 } : zeros,
});

/** As BEiT and EVA start: what goes back into the residuals by its depth, and the head almost at zero. */
export const scaledStart =
  (headScale: number): LinearStart =>
  (name) => {
    const depth = /^blocks\.(\d+)\.(?:attn\.proj|mlp\.fc2)$/.exec(name)?.[1];
    const factor = depth ? (2 * (Number(depth) + 1)) ** -0.5 : name === 'head' && headScale ? headScale : 1;
    return { weight: { kind: 'normal', std: 0.02 * factor }, bias: zeros };
  };

export interface LinearOptions {
  bias?: boolean;
  weightInitializer?: Initializer;
  biasInitializer?: Initializer;
}

/**
 * The layers that architectures are made of. Each method writes a layer's canonical nodes and its
 * parameters, which are named by the scope it is called in, as PyTorch names a submodule's.
 */
export class Layers {
  readonly graph: Graph;
  readonly builder: Builder;
  readonly #source: ParameterSource;
  readonly #linearStart: LinearStart;
  readonly #parameters: string[] = [];
  readonly #buffers: string[] = [];
  readonly #counters: Record<string, number> = {};
  readonly #aliases: Record<string, string> = {};
  readonly #shared = new Map<string, Value>();

  /** @param linearStart asked with the full name of each Linear */
  constructor(name: string, source: ParameterSource, linearStart: LinearStart = timmStart) {
    this.graph = new Graph(name);
    this.#linearStart = linearStart;
    this.builder = new Builder(this.graph);
    this.#source = source;
  }

  /** The images, `pixel_values` `[N, channels, height, width]`. */
  images(channels: number, size: readonly [height: number, width: number]): Value {
    return this.graph.addInput('pixel_values', 'float32', ['N', channels, ...size]);
  }

  /**
   * A trainable parameter, in the state dict.
   * @param positions what it is a table of, so that checkpoints of other image sizes can be read
   */
  parameter(name: string, shape: readonly number[], initializer: Initializer, positions?: Positions): Value {
    const full = this.builder.scoped(name);
    this.#parameters.push(full);
    return this.graph.addConstant(full, this.#source(full, shape, initializer, positions && { positions }));
  }

  /** A tensor of the state dict that is not trained: running statistics, indices. */
  buffer(
    name: string,
    shape: readonly number[],
    initializer: Initializer,
    dtype: StateType = 'float32',
  ): Value {
    const full = this.builder.scoped(name);
    this.#buffers.push(full);
    return this.graph.addConstant(full, this.#source(full, shape, initializer, { dtype }));
  }

  /** An int64 scalar of the state dict that no node reads. */
  counter(name: string): void {
    const full = this.builder.scoped(name);
    const tensor = this.#source(full, [], zeros, { dtype: 'int64' });
    this.#counters[full] = tensor.integers[0]!;
  }

  /** A second name in the state dict for a parameter or buffer: PyTorch modules may share one. */
  alias(name: string, value: Value): void {
    const full = this.builder.scoped(name);
    this.#source(full, value.staticShape, zeros, { sameAs: value.name });
    this.#aliases[full] = value.name;
  }

  /**
   * A second name for all parameters and buffers of a module that is in two places.
   * @param module the full name under which it was made
   */
  moduleAlias(name: string, module: string): void {
    for (const full of [...this.#parameters, ...this.#buffers]) {
      if (!full.startsWith(`${module}.`)) continue;
      this.alias(`${name}${full.slice(module.length)}`, this.graph.constants.get(full)!);
    }
  }

  /** A named constant outside the state dict: what PyTorch registers as a buffer that is not persistent. */
  constant(name: string, tensor: Tensor): Value {
    return this.graph.addConstant(this.graph.uniqueName(this.builder.scoped(name)), tensor);
  }

  /** Such a constant that layers anywhere in the model read, made once. `name` is its name, and says what it is. */
  sharedConstant(name: string, make: () => Tensor): Value {
    const value = this.#shared.get(name) ?? this.graph.addConstant(this.graph.uniqueName(name), make());
    this.#shared.set(name, value);
    return value;
  }

  scope<T>(name: string, body: () => T): T {
    return this.builder.scope(name, body);
  }

  /** `x [..., in] -> [..., features]`, weight `[features, in]`. */
  linear(name: string, x: Value, features: number, options: LinearOptions = {}): Value {
    const width = lastDim(x);
    return this.scope(name, () => {
      const start = this.#linearStart(
        this.builder.scoped('weight').slice(0, -'.weight'.length),
        width,
        features,
      );
      const weight = this.parameter('weight', [features, width], options.weightInitializer ?? start.weight);
      const transposed = this.builder.op('Transpose', [weight], { perm: [1, 0] }, 'weight_t');
      const product = this.builder.op('MatMul', [x, transposed], {}, 'matmul');
      if (options.bias === false) return product;
      const bias = this.parameter('bias', [features], options.biasInitializer ?? start.bias);
      return this.builder.op('Add', [product, bias], {}, 'add');
    });
  }

  /** A normalization over the last axis. */
  norm(name: string, x: Value, spec: NormSpec, weightInitializer: Initializer = ones): Value {
    const width = lastDim(x);
    return this.scope(name, () => {
      const weight = this.parameter('weight', [width], weightInitializer);
      if (spec.kind === 'rms') return this.#rmsNorm(x, weight, spec.epsilon);
      const bias = this.parameter('bias', [width], zeros);
      return this.builder.op(
        'LayerNormalization',
        [x, weight, bias],
        { axis: -1, epsilon: float(spec.epsilon) },
        'norm',
      );
    });
  }

  /** A normalization over the channels of an image `[N, C, H, W]`: timm's `LayerNorm2d`. */
  channelNorm(name: string, x: Value, spec: NormSpec): Value {
    const b = this.builder;
    const last = b.op('Transpose', [x], { perm: [0, 2, 3, 1] }, `${name}.channels_last`);
    const normed = this.norm(name, last, spec);
    return b.op('Transpose', [normed], { perm: [0, 3, 1, 2] }, `${name}.channels_first`);
  }

  /** x / sqrt(mean(x^2) + epsilon) * weight, in the form that ONNX Runtime fuses into one kernel. */
  #rmsNorm(x: Value, weight: Value, epsilon: number): Value {
    const b = this.builder;
    const square = b.op('Pow', [x, b.scalar(2)], {}, 'square');
    const mean = b.op('ReduceMean', [square, b.ints([-1])], { keepdims: 1 }, 'mean');
    const root = b.op('Sqrt', [b.op('Add', [mean, b.scalar(epsilon)], {}, 'add')], {}, 'root');
    return b.op('Mul', [b.op('Div', [x, root], {}, 'div'), weight], {}, 'norm');
  }

  activation(x: Value, name: ActivationName): Value {
    return this.scope('act', () => activations[name](this.builder, x));
  }

  /** Layer scale: a learned factor per channel, `NAME.gamma`. */
  layerScale(name: string, x: Value, value: number): Value {
    return this.scope(name, () => this.channelScale('gamma', x, value));
  }

  /** The same with a parameter that is in no module of its own. */
  channelScale(name: string, x: Value, value: number): Value {
    const gamma = this.parameter(name, [lastDim(x)], { kind: 'constant', value });
    return this.builder.op('Mul', [x, gamma], {}, 'scaled');
  }

  /** The finished graph: `output` becomes `logits`, and the parameters are on record. */
  finish(output: Value): Graph {
    const result = output.producer ? output : this.builder.op('Identity', [output]);
    this.graph.rename(result, 'logits');
    this.graph.outputs.push(result);
    setParameters(this.graph, this.#parameters);
    setBuffers(this.graph, this.#buffers);
    setCounters(this.graph, this.#counters);
    setAliases(this.graph, this.#aliases);
    return this.graph;
  }
}

/** The length of an axis, which must be a number. Negative axes count from the end. */
export function dimOf(x: Value, axis: number): number {
  const dim = x.shape?.at(axis);
  if (typeof dim !== 'number') throw new Error(`${x.name} has no static axis ${axis}`);
  return dim;
}

/** The length of the last axis, which must be a number. */
export const lastDim = (x: Value): number => dimOf(x, -1);
