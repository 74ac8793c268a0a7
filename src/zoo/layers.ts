import { float } from '../graph/attribute.ts';
import { Builder } from '../graph/builder.ts';
import { Graph, type Value } from '../graph/graph.ts';
import { setParameters } from '../graph/parameters.ts';
import { type ActivationName, activations, type NormSpec } from './layer-spec.ts';
import type { Initializer, ParameterSource } from './parameter-source.ts';

const zeros: Initializer = { kind: 'constant', value: 0 };
const ones: Initializer = { kind: 'constant', value: 1 };
/** What timm draws the weights of every Linear of a ViT from. */
export const linearInitializer: Initializer = { kind: 'normal', std: 0.02 };

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
  readonly #parameters: string[] = [];

  constructor(name: string, source: ParameterSource) {
    this.graph = new Graph(name);
    this.builder = new Builder(this.graph);
    this.#source = source;
  }

  /** A parameter of the model. */
  parameter(name: string, shape: readonly number[], initializer: Initializer): Value {
    const full = this.builder.scoped(name);
    this.#parameters.push(full);
    return this.graph.addConstant(full, this.#source(full, shape, initializer));
  }

  scope<T>(name: string, body: () => T): T {
    return this.builder.scope(name, body);
  }

  /** `x [..., in] -> [..., features]`, weight `[features, in]`. */
  linear(name: string, x: Value, features: number, options: LinearOptions = {}): Value {
    const width = lastDim(x);
    return this.scope(name, () => {
      const weight = this.parameter(
        'weight',
        [features, width],
        options.weightInitializer ?? linearInitializer,
      );
      const transposed = this.builder.op('Transpose', [weight], { perm: [1, 0] }, 'weight_t');
      const product = this.builder.op('MatMul', [x, transposed], {}, 'matmul');
      if (options.bias === false) return product;
      const bias = this.parameter('bias', [features], options.biasInitializer ?? zeros);
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

  /** Layer scale: a learned factor per channel. */
  layerScale(name: string, x: Value, value: number): Value {
    return this.scope(name, () => {
      const gamma = this.parameter('gamma', [lastDim(x)], { kind: 'constant', value });
      return this.builder.op('Mul', [x, gamma], {}, 'scaled');
    });
  }

  /** The finished graph: `output` becomes `logits`, and the parameters are on record. */
  finish(output: Value): Graph {
    const result = output.producer ? output : this.builder.op('Identity', [output]);
    this.graph.rename(result, 'logits');
    this.graph.outputs.push(result);
    setParameters(this.graph, this.#parameters);
    return this.graph;
  }
}

/** The length of the last axis, which must be a number. */
export function lastDim(x: Value): number {
  const dim = x.shape?.at(-1);
  if (typeof dim !== 'number') throw new Error(`${x.name} has no static last axis`);
  return dim;
}
