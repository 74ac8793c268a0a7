import type { Builder } from '../graph/builder.ts';
import type { Node, Value } from '../graph/graph.ts';
import { inferNode } from '../graph/infer.ts';
import { trailingAxes } from '../graph/schema/axes.ts';
import { type OpArguments, rowsFor } from '../graph/schema/signature.ts';
import { Tensor } from '../graph/tensor.ts';
import {
  type GradientContext,
  type GradientRule,
  type GradientRules,
  lengthsOf,
  number,
  shapeOf,
  single,
  sumTo,
} from './rule.ts';

export interface Normalized {
  /** The normalized input, before scale and bias. */
  hat: Value;
  /** 1 / deviation, of the input's shape with the normalized axes at 1. */
  inverse: Value;
  axes: number[];
}

export const mean = (b: Builder, value: Value, axes: number[]) =>
  b.op('ReduceMean', [value, b.ints(axes)], { keepdims: 1 });

/**
 * With `h` the normalized input and `w` the gradient that reaches it: `(w - mean(w) - h mean(w h)) / deviation`;
 * without centering (RMS) the mean of w is left out.
 */
function inputGradient(
  b: Builder,
  { hat, inverse, axes }: Normalized,
  w: Value,
  weighted: Value,
  centered: boolean,
): Value {
  const parallel = b.op('Mul', [hat, mean(b, weighted, axes)]);
  const shifted = centered ? b.op('Add', [parallel, mean(b, w, axes)]) : parallel;
  return b.op('Mul', [b.op('Sub', [w, shifted]), inverse]);
}

/** The gradient at the input of a normalization that subtracts the mean. */
export const centeredGradient = (b: Builder, normalized: Normalized, w: Value, weighted: Value): Value =>
  inputGradient(b, normalized, w, weighted, true);

function gradients(
  node: Node,
  g: Value,
  { builder: b, wants }: GradientContext,
  normalized: Normalized,
  centered: boolean,
): (Value | undefined)[] {
  const scale = node.input(1);
  const bias = node.inputs[2];
  const { hat } = normalized;
  let dx: Value | undefined;
  if (wants(0)) {
    const w = b.op('Mul', [g, scale]);
    dx = inputGradient(b, normalized, w, b.op('Mul', [w, hat]), centered);
  }
  return [
    dx,
    wants(1) ? sumTo(b, b.op('Mul', [g, hat]), scale) : undefined,
    bias && wants(2) ? sumTo(b, g, bias) : undefined,
  ];
}

/** The op's third output, the inverse deviation, which it computes anyway. */
const layerNormalization: GradientRule<OpArguments['LayerNormalization']> = single(
  (node, args, g, context) => {
    const { builder: b } = context;
    const x = node.input(0);
    const axes = trailingAxes(args, shapeOf(x).length);
    const lengths = lengthsOf(x, axes);
    const [, , inverse] = b.graph.extendOutputs(node, 3);
    inferNode(node);
    const ones = Tensor.float32(lengths, new Float32Array(lengths.reduce((p, d) => p * d, 1)).fill(1));
    const hat = b.op('LayerNormalization', [x, sharedOnes(b, ones)], Object.fromEntries(node.attributes));
    return gradients(node, g, context, { hat, inverse: inverse!, axes }, true);
  },
);

const onesOf = new WeakMap<object, Map<string, Value>>();

/** A constant of ones, one per shape and graph. */
function sharedOnes(b: Builder, ones: Tensor): Value {
  const known = onesOf.get(b.graph) ?? new Map<string, Value>();
  onesOf.set(b.graph, known);
  const key = `${ones.shape}`;
  let value = known.get(key);
  if (!value || b.graph.constants.get(value.name) !== value) {
    value = b.constant(ones, 'ones');
    known.set(key, value);
  }
  return value;
}

const rmsNormalization: GradientRule<OpArguments['RMSNormalization']> = single((node, args, g, context) => {
  const { builder: b } = context;
  const x = node.input(0);
  const axes = trailingAxes(args, shapeOf(x).length);
  const power = mean(b, b.op('Mul', [x, x]), axes);
  const deviation = b.op('Sqrt', [b.op('Add', [power, number(b, args.epsilon, x)])]);
  const inverse = b.op('Reciprocal', [deviation]);
  const hat = b.op('Mul', [x, inverse]);
  return gradients(node, g, context, { hat, inverse, axes }, false);
});

/** Normalizations over trailing axes. */
export const normalization = {
  LayerNormalization: layerNormalization,
  ...rowsFor('RMSNormalization SimplifiedLayerNormalization', rmsNormalization),
} satisfies GradientRules;
