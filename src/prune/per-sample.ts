import { Builder } from '../graph/builder.ts';
import { sameDim } from '../graph/dim.ts';
import type { Dim, Graph, Node, Value } from '../graph/graph.ts';
import { argumentsOf } from '../graph/schema/arguments.ts';
import { type OpArguments, type OpName, rowOf } from '../graph/schema/signature.ts';
import { windowOf } from '../graph/schema/window.ts';
import { Tensor } from '../graph/tensor.ts';

/**
 * How the squared gradients of single samples, summed over a batch, come from one backward pass: the
 * gradient that reaches a layer's output keeps samples apart, and times the layer's input it is each
 * sample's gradient of the weight.
 */
export interface PerSample {
  /** The value whose gradient is needed. */
  readonly output: Value;
  /** The sum over the batch of squared per-sample gradients, of the parameter's shape. */
  squares(b: Builder, gradient: Value): Value;
}

type PerSampleRule<O extends OpName> = (
  parameter: Value,
  node: Node,
  args: OpArguments[O],
  index: number,
  batch: Dim,
) => PerSample | undefined;

const square = (b: Builder, value: Value) => b.op('Mul', [value, value]);
const sumOver = (b: Builder, value: Value, axes: readonly number[]) =>
  b.op('ReduceSum', [value, b.ints(axes)], { keepdims: 0 });
/** The sum over the batch of the squares of what each sample has. */
const sumOfSquares = (b: Builder, each: Value) =>
  b.op('ReduceSumSquare', [each, b.ints([0])], { keepdims: 0 });

/** `W [out, in]` behind `Transpose -> MatMul(x, W^T)`: (dY_i^T X_i)^2, X_i the sample's tokens. */
const linear: PerSampleRule<'Transpose'> = (_parameter, transpose, _args, _index, batch) => {
  const product = transpose.output().uses[0]?.node;
  if (transpose.output().uses.length !== 1 || product?.op !== 'MatMul') return undefined;
  if (product.input(1) !== transpose.output() || transpose.output().shape?.length !== 2) return undefined;
  const x = product.input(0);
  if (!x.shape || !sameDim(x.shape[0], batch)) return undefined;
  if (x.shape.length === 2) {
    return {
      output: product.output(),
      squares: (b, gradient) =>
        b.op('MatMul', [b.op('Transpose', [square(b, gradient)], { perm: [1, 0] }), square(b, x)]),
    };
  }
  if (x.shape.length !== 3) return undefined;
  return {
    output: product.output(),
    squares: (b, gradient) =>
      sumOver(b, square(b, b.op('MatMul', [b.op('Transpose', [gradient], { perm: [0, 2, 1] }), x])), [0]),
  };
};

/** A scale over the last axis, of which `exposeNormalized` has shown the other factor. */
const scale: PerSampleRule<'Mul'> = (parameter, product, _args, index, batch) => {
  const other = product.input(1 - index);
  const shape = other.shape;
  if (
    parameter.shape?.length !== 1 ||
    !shape ||
    !sameDim(shape[0], batch) ||
    shape.at(-1) !== parameter.shape[0]
  ) {
    return undefined;
  }
  const between = shape.slice(1, -1).map((_, i) => i + 1);
  return {
    output: product.output(),
    squares(b, gradient) {
      const each = b.op('Mul', [gradient, other]);
      return sumOfSquares(b, between.length ? sumOver(b, each, between) : each);
    },
  };
};

/** A convolution whose windows lie side by side is a Linear over patches. */
const patches: PerSampleRule<'Conv'> = (parameter, node, args, index, batch) => {
  const x = node.input(0);
  const [outputs, channels, height, width] = parameter.shape as readonly number[];
  if (index !== 1 || parameter.shape?.length !== 4 || !sameDim(x.shape?.[0], batch)) return undefined;
  const [rows, columns] = node.output().shape!.slice(2) as [number, number];
  const { strides, pads } = windowOf(node, args, [height!, width!]);
  const aside =
    args.group === 1 &&
    `${strides}` === `${[height, width]}` &&
    pads.every((pad) => pad?.before === 0 && pad.after === 0) &&
    x.shape?.[2] === rows * height! &&
    x.shape[3] === columns * width!;
  if (!aside) return undefined;
  return {
    output: node.output(),
    squares(b, gradient) {
      const cut = b.op('Reshape', [x, b.ints([0, channels!, rows, height!, columns, width!])]);
      const boxes = b.op('Transpose', [cut], { perm: [0, 2, 4, 1, 3, 5] });
      const flat = b.op('Reshape', [boxes, b.ints([0, rows * columns, channels! * height! * width!])]);
      const each = b.op('MatMul', [b.op('Reshape', [gradient, b.ints([0, outputs!, -1])]), flat]);
      return b.op('Reshape', [sumOfSquares(b, each), b.ints(parameter.staticShape)]);
    },
  };
};

const perSampleRules: { readonly [O in OpName]?: PerSampleRule<O> } = {
  Transpose: linear,
  Mul: scale,
  Conv: patches,
};

/** The per-sample rule of a parameter that is read once, by a layer that has one. */
export function perSampleSquares(parameter: Value, batch: Dim): PerSample | undefined {
  const [use, ...others] = parameter.uses;
  if (!use || others.length > 0) return undefined;
  const rule = rowOf(perSampleRules, use.node) as PerSampleRule<OpName> | undefined;
  return rule?.(parameter, use.node, argumentsOf(use.node), use.index, batch);
}

/** Rewrites `LayerNormalization(x, scale, bias)` as `normalized * scale + bias`, so that the normalized values can be read. */
export function exposeNormalized(graph: Graph): void {
  for (const node of [...graph.nodes]) {
    const [x, scale, bias] = node.inputs;
    const width = scale?.shape?.[0];
    const plain = node.op === 'LayerNormalization' && node.outputs.length === 1 && scale?.shape?.length === 1;
    if (!plain || typeof width !== 'number') continue;
    const b = new Builder(graph, node);
    const ones = Tensor.float32([width], new Float32Array(width).fill(1));
    const normalized = b.op('LayerNormalization', [x, ones], Object.fromEntries(node.attributes));
    const scaled = b.op('Mul', [normalized, scale]);
    graph.replaceUses(node.output(), bias ? b.op('Add', [scaled, bias]) : scaled);
    graph.removeNodes([node]);
  }
}
