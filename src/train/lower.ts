import { float } from '../graph/attribute.ts';
import { Builder } from '../graph/builder.ts';
import type { Graph, Node, Value } from '../graph/graph.ts';
import { matchLinear } from '../graph/linear.ts';
import { scaleOf, swapsLastTwo } from '../graph/patterns.ts';

/** Tries to rewrite around a node; true when it did. */
type Rewrite = (graph: Graph, node: Node) => boolean;

/**
 * Linear: `Add(MatMul(x, Transpose(W)), bias)` becomes `Gemm` over the rows of x, which adds the bias
 * while it writes and reads W as it lies. Not where the transposed weight is also read elsewhere, or
 * the product is read before the bias.
 */
const linearToGemm: Rewrite = (graph, node) => {
  const linear = node.op === 'MatMul' ? matchLinear(graph, node) : undefined;
  if (linear?.layout !== 'out,in') return false;
  const { input: x, weight, bias, output } = linear;
  const inner = weight.staticShape[1]!;
  const flip = node.input(1).producer!;
  const end = output.producer!;
  const b = new Builder(graph, end);
  const rows = x.shape!.length === 2 ? x : b.op('Reshape', [x, b.ints([-1, inner])]);
  const product = b.op('Gemm', bias ? [rows, weight, bias] : [rows, weight], { transB: 1 });
  const result = x.shape!.length === 2 ? product : reshapedTo(b, product, output);
  graph.replaceUses(output, result);
  graph.removeNodes(bias ? [end, node] : [node]);
  if (flip.output().uses.length === 0) graph.removeNodes([flip]);
  return true;
};

/** Reshape to the shape of a value with at most one symbolic axis in front. */
function reshapedTo(b: Builder, value: Value, like: Value): Value {
  const made = b.op('Reshape', [
    value,
    b.ints(like.shape!.map((dim) => (typeof dim === 'string' ? -1 : dim))),
  ]);
  made.shape = like.shape;
  return made;
}

/**
 * `MatMul(a * s, Transpose(b))`: the product takes the scale and the transpose along. Fires for a scaled
 * left side, a swapped right side, or both. Not for a scale per channel.
 */
const productAttributes: Rewrite = (graph, node) => {
  if (node.op !== 'MatMul') return false;
  const rank = node.input(0).shape?.length ?? 0;
  if (rank < 3 || node.input(1).shape?.length !== rank) return false;
  const left = node.input(0).producer;
  const scaled = left && scaleOf(left);
  const maker = node.input(1).producer;
  const flip = swapsLastTwo(maker) ? maker : undefined;
  if (!scaled && !flip) return false;
  const b = new Builder(graph, node);
  const made = b.op(
    'com.microsoft.FusedMatMul',
    [scaled?.value ?? node.input(0), flip ? flip.input(0) : node.input(1)],
    { transB: flip ? 1 : 0, alpha: float(scaled?.factor ?? 1) },
  );
  graph.replaceUses(node.output(), made);
  graph.removeNodes([node]);
  return true;
};

/** A Reshape of a Reshape is one Reshape, where its target does not count on the axes between (a 0). */
const reshapeOnce: Rewrite = (graph, node) => {
  const inner = node.op === 'Reshape' ? node.input(0).producer : undefined;
  if (inner?.op !== 'Reshape') return false;
  const target = node.inputs[1]?.tensor?.integers;
  const shape = node.output().shape;
  if (!target || !shape) return false;
  if (target.includes(0)) {
    const symbolic = shape.filter((dim) => typeof dim === 'string').length;
    if (symbolic > 1) return false;
    const b = new Builder(graph, node);
    node.setInput(1, b.ints(shape.map((dim) => (typeof dim === 'string' ? -1 : dim))));
  }
  node.setInput(0, inner.input(0));
  return true;
};

const rewrites: Rewrite[] = [linearToGemm, productAttributes, reshapeOnce];

/**
 * Rewrites a model, in place, into the form that trains fastest on ONNX Runtime: before it is
 * differentiated, so that the backward pass profits too. Parameters keep names and orientation.
 */
export function lowerForTraining(graph: Graph): void {
  for (const rewrite of rewrites) {
    for (const node of [...graph.nodes]) {
      if (node.outputs[0]) rewrite(graph, node);
    }
    graph.removeDead();
  }
}
