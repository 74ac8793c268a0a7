import type { Graph, Node, Value } from './types.ts';

/** A convolution with a constant kernel and, it may be, a constant bias. */
export interface Convolution {
  /** The Conv. */
  readonly product: Node;
  readonly input: Value;
  readonly weight: Value;
  /** `[out, in / groups, ...window]`. */
  readonly layout: 'out,in,window';
  /** One number an output channel. */
  readonly bias: Value | undefined;
  readonly output: Value;
}

/** The convolution that this node is; undefined when it is none, or its kernel or bias is computed. */
export function matchConvolution(_graph: Graph, node: Node): Convolution | undefined {
  if (node.op !== 'Conv') return undefined;
  const [input, weight, bias] = [node.input(0), node.input(1), node.inputs[2]];
  if (!weight.isConstant || (weight.shape?.length ?? 0) < 3 || (bias && !bias.isConstant)) return undefined;
  return { product: node, input, weight, layout: 'out,in,window', bias, output: node.output() };
}
