import { float } from '../../graph/attribute.ts';
import type { Graph, Node, Value } from '../../graph/graph.ts';
import { otherOperand, scalarOf, soleReader } from '../../graph/patterns.ts';
import { replaceValue } from '../../graph/replace.ts';
import { argumentsOf } from '../../graph/schema/arguments.ts';
import { reducedAxes } from '../../graph/schema/axes.ts';
import { scopedBuilder } from './linear.ts';

/**
 * Puts one `LayerNormalization` in the place of its parts: `d = x - mean(x)`, `d / sqrt(mean(d d) + epsilon) w + b`,
 * the square as `Pow(d, 2)` or `Mul(d, d)`, the root as `Sqrt` with `Div` or with `Reciprocal` and `Mul`, over the
 * last axis. It does not fire without a constant weight and bias of that axis's length.
 */
export function layerNorm(graph: Graph): void {
  if ((graph.root.opsets.get('') ?? 1) < 17) return;
  for (const node of [...graph.nodes]) {
    const parts = node.op === 'Add' ? match(graph, node) : undefined;
    if (!parts) continue;
    const { x, weight, bias, epsilon } = parts;
    const b = scopedBuilder(graph, node);
    const normed = b.op(
      'LayerNormalization',
      [x, weight, bias],
      { axis: -1, epsilon: float(epsilon) },
      'norm',
    );
    replaceValue(graph, node.output(), normed);
    graph.removeNodes([node]);
    graph.removeDead();
  }
}

interface Parts {
  x: Value;
  weight: Value;
  bias: Value;
  epsilon: number;
}

function match(graph: Graph, add: Node): Parts | undefined {
  const bias = add.inputs.find((value) => value?.isConstant);
  const scaled = bias && otherOperand(add, bias).producer;
  if (scaled?.op !== 'Mul' || !soleReader(graph, scaled.output())) return undefined;
  const weight = scaled.inputs.find((value) => value?.isConstant);
  const normed = weight && normalized(otherOperand(scaled, weight).producer);
  if (!bias || !weight || !normed || !soleReader(graph, otherOperand(scaled, weight))) return undefined;
  const width = normed.x.shape?.at(-1);
  const fits = [weight, bias].every(({ shape }) => shape?.length === 1 && shape[0] === width);
  return fits && width !== undefined ? { ...normed, weight, bias } : undefined;
}

/** What `d / sqrt(mean(d d) + epsilon)` normalizes. */
function normalized(node: Node | undefined): { x: Value; epsilon: number } | undefined {
  const divided = quotient(node);
  if (!divided) return undefined;
  const difference = divided.over.producer;
  if (difference?.op !== 'Sub') return undefined;
  const [x, mean] = [difference.input(0), difference.input(1).producer];
  if (!isMean(mean) || mean.input(0) !== x) return undefined;
  const spread = meanSquare(divided.under, divided.over);
  return spread && { x, epsilon: spread.epsilon };
}

/** `over / sqrt(under)`. */
export function quotient(node: Node | undefined): { over: Value; under: Value } | undefined {
  const root = (value: Value | undefined, op: string) =>
    value?.producer?.op === op ? value.producer.input(0) : undefined;
  if (node?.op === 'Div') {
    const under = root(node.input(1), 'Sqrt');
    return under && { over: node.input(0), under };
  }
  if (node?.op !== 'Mul') return undefined;
  for (const side of [1, 0]) {
    const under = root(root(node.input(side), 'Reciprocal'), 'Sqrt') ?? reciprocalRoot(node.input(side));
    if (under) return { over: node.input(1 - side), under };
  }
  return undefined;
}

/** `under` of `1 / sqrt(under)`. */
function reciprocalRoot({ producer }: Value): Value | undefined {
  if (producer?.op !== 'Div' || scalarOf(producer.input(0)) !== 1) return undefined;
  const root = producer.input(1).producer;
  return root?.op === 'Sqrt' ? root.input(0) : undefined;
}

/** `mean(d d) + epsilon`. */
export function meanSquare(under: Value, d: Value): { epsilon: number } | undefined {
  const add = under.producer;
  if (add?.op !== 'Add') return undefined;
  for (const side of [1, 0]) {
    const epsilon = scalarOf(add.input(side));
    const mean = add.input(1 - side).producer;
    if (epsilon === undefined || !isMean(mean)) continue;
    const square = mean.input(0).producer;
    if (square && isSquare(square, d)) return { epsilon };
  }
  return undefined;
}

const isSquare = (node: Node, of: Value): boolean =>
  (node.op === 'Pow' && node.input(0) === of && scalarOf(node.input(1)) === 2) ||
  (node.op === 'Mul' && node.input(0) === of && node.input(1) === of);

/** A mean over the last axis that keeps it. */
function isMean(node: Node | undefined): node is Node {
  if (node?.op !== 'ReduceMean') return false;
  const rank = node.input(0).shape?.length;
  const args = argumentsOf<'ReduceMean'>(node);
  return rank !== undefined && args.keepdims === 1 && `${reducedAxes(args, rank)}` === `${rank - 1}`;
}
