import { UserError } from '../../common/errors.ts';
import type { Graph, Value } from '../../graph/graph.ts';
import { inferGraph } from '../../graph/infer.ts';
import { argumentsOf } from '../../graph/schema/arguments.ts';
import { type OpArguments, type OpName, rowOf } from '../../graph/schema/signature.ts';
import { withDequantizedKernels } from '../../quantize/forms.ts';
import { Lowering, type LoweringRule } from './lowering.ts';
import { live, type Program } from './program.ts';
import { tfliteLowering } from './rules.ts';

/** A copy that takes one image: the batch `N` is 1. */
export function singleImage(source: Graph): Graph {
  const { graph } = source.clone();
  for (const input of graph.inputs) {
    if (!input.isConstant && input.shape) input.shape = input.shape.map((dim) => (dim === 'N' ? 1 : dim));
  }
  inferGraph(graph);
  return graph;
}

/**
 * Lowers a graph for one image to LiteRT operators, op by op through `tfliteLowering`. Images `[1, C, H, W]` are
 * `[1, H, W, C]` in the file, numbers float32; an input of uint8 pixels stays as it is.
 * @throws UserError naming op and node when an op has no rule, or its rule can't express the node
 */
export function lowerGraph(source: Graph): Program {
  const graph = withDequantizedKernels(source);
  const lowering = new Lowering(graph);
  const inputs = graph.inputs
    .filter((value) => !value.isConstant)
    .map((value) => ({ name: value.name, tensor: inputOf(value, lowering) }));
  for (const node of graph.nodes) {
    const rule = rowOf(tfliteLowering, node) as LoweringRule<OpArguments[OpName]> | undefined;
    if (!rule) throw new UserError(`${node.label} has no TFLite lowering; can't export this graph`);
    lowering.bind(node, rule(node, argumentsOf(node), lowering));
  }
  const outputs = graph.outputs.map((value) => ({ name: value.name, tensor: lowering.tensor(value) }));
  return live({ inputs, outputs, operators: lowering.operators, metadata: graph.metadata });
}

function inputOf(value: Value, lowering: Lowering) {
  const shape = value.staticShape;
  if (value.dtype === 'uint8') return lowering.input(value, shape, (tensor) => tensor);
  if (value.dtype !== 'float32' && value.dtype !== 'float16')
    throw new UserError(
      `input ${value.name} is ${value.dtype}; TFLite files here take float32, or uint8 pixels`,
    );
  if (shape.length !== 4) return lowering.input(value, shape, (tensor) => tensor);
  const last = [0, 2, 3, 1].map((axis) => shape[axis]!);
  return lowering.input(value, last, (tensor) => lowering.transpose(tensor, [0, 3, 1, 2]));
}
