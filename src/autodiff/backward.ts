import { UserError } from '../common/errors.ts';
import { Builder } from '../graph/builder.ts';
import type { Graph, Node, Value } from '../graph/graph.ts';
import { raiseOpset } from '../graph/raise-opset.ts';
import { argumentsOf } from '../graph/schema/arguments.ts';
import { type OpArguments, type OpName, rowOf } from '../graph/schema/signature.ts';
import { liveNodes } from '../graph/traversal.ts';
import { expandLike, type GradientContext, type GradientRule, number, zerosLike } from './rule.ts';
import { gradientRules } from './rules.ts';

/** The operator set that gradients are written in. */
export const gradientOpset = 18;

/**
 * Where the gradient of a value goes past the ops that made it: the straight-through estimator (Bengio et al., arXiv
 * 1308.3432), since what rounds has no slope to follow.
 */
export interface StraightThrough {
  /** The value it stands for, of its shape. */
  readonly of: Value;
  /** Writes what is true where the gradient passes, of that shape too; left out: it passes everywhere. */
  readonly where?: (b: Builder) => Value;
}

/**
 * Reverse-mode differentiation: adds to the graph, in place and at its end, the nodes that compute the
 * gradient of a scalar, and returns the gradient of each value asked for. What is added is plain ONNX
 * and com.microsoft.FusedMatMul, so it runs wherever the graph does and can be differentiated again. A
 * graph of an operator set before 18 is rewritten for that first.
 *
 * One sweep over the nodes from last to first: the gradients of a node's outputs are complete when it
 * is reached, since all readers stand after it. Only nodes on a way from a `wrt` to the loss are
 * visited. LayerNormalization nodes gain their statistics as outputs.
 *
 * @param loss a value with one element
 * @param wrt any values of the graph: parameters, inputs, intermediate values
 * @param straight values, each the only output of its node, whose gradient goes straight to another; of a graph that is
 *   of operator set 18 or later
 * @returns for each `wrt` its gradient, of its shape; zeros where the loss does not depend on it
 * @throws UserError when an op on the way has no gradient rule (named), the loss is not a scalar, or the
 *   operator set can't be raised
 */
export function backward(
  graph: Graph,
  loss: Value,
  wrt: readonly Value[],
  straight: ReadonlyMap<Value, StraightThrough> = new Map(),
): Map<Value, Value> {
  if (!loss.shape?.every((dim) => dim === 1)) {
    throw new UserError(
      `${loss.name} [${loss.shape ?? 'unknown shape'}] can't be differentiated: a loss has one element`,
    );
  }
  const raised = raiseOpset(graph, gradientOpset);
  const present = (value: Value) => raised.get(value) ?? value;
  const forward = [...graph.nodes];
  const dependent = dependentValues(forward, wrt.map(present), straight);
  const builder = new Builder(graph);
  const pending = new Map<Value, Value[]>([[loss, [expandLike(builder, number(builder, 1, loss), loss)]]]);
  const complete = new Map<Value, Value>();

  const gradientOf = (value: Value): Value | undefined => {
    const known = complete.get(value);
    if (known) return known;
    const parts = pending.get(value);
    if (!parts) return undefined;
    const sum = parts.reduce((a, b) => builder.op('Add', [a, b]));
    complete.set(value, sum);
    return sum;
  };

  const receive = (value: Value, gradient: Value) => {
    const parts = pending.get(value);
    if (parts) parts.push(gradient);
    else pending.set(value, [gradient]);
  };

  for (const node of forward.reverse()) {
    if (!node.outputs.some((output) => output && dependent.has(output) && pending.has(output))) continue;
    const gradients = node.outputs.map((output) =>
      output && dependent.has(output) ? gradientOf(output) : undefined,
    );
    const past = straight.get(node.outputs[0]!);
    if (past) {
      receive(
        past.of,
        builder.scope(`grad.${node.name}`, () => passed(builder, gradients[0]!, past)),
      );
      continue;
    }
    const wants = (index: number) => dependent.has(node.inputs[index]!);
    const found = builder.scope(`grad.${node.name}`, () =>
      differentiate(node, gradients, { builder, wants, gradientOf: (value) => complete.get(value) }),
    );
    node.inputs.forEach((input, i) => {
      const gradient = found[i];
      if (input && gradient && dependent.has(input)) receive(input, gradient);
    });
  }
  return new Map(
    wrt.map((value) => [value, gradientOf(present(value)) ?? zerosLike(builder, present(value))]),
  );
}

/**
 * The nodes between some values and the graph's outputs whose op has no gradient rule: what stands in the way of
 * training them. A rule may still refuse a node for its arguments.
 */
export function withoutGradient(graph: Graph, wrt: readonly Value[]): Node[] {
  const dependent = dependentValues(graph.nodes, wrt);
  const live = liveNodes(graph);
  return graph.nodes.filter(
    (node) =>
      live.has(node) &&
      !rowOf(gradientRules, node) &&
      node.inputs.some((value) => value && dependent.has(value)) &&
      node.outputs.some((value) => value && dependent.has(value)),
  );
}

function differentiate(
  node: Node,
  gradients: readonly (Value | undefined)[],
  context: GradientContext,
): readonly (Value | undefined)[] {
  const rule = rowOf(gradientRules, node) as GradientRule<OpArguments[OpName]> | undefined;
  if (!rule) throw new UserError(`no gradient rule for ${node.op} (node ${node.label})`);
  return rule(node, argumentsOf(node), gradients, context);
}

const passed = (b: Builder, gradient: Value, { where }: StraightThrough): Value =>
  where ? b.op('Where', [where(b), gradient, number(b, 0, gradient)]) : gradient;

const continuous = new Set(['float32', 'float64', 'float16', 'bfloat16']);

/** The `wrt` and all that is computed from them in numbers that can change a little. */
function dependentValues(
  nodes: readonly Node[],
  wrt: readonly Value[],
  straight: ReadonlyMap<Value, StraightThrough> = new Map(),
): Set<Value> {
  const dependent = new Set(wrt);
  for (const node of nodes) {
    const past = straight.get(node.outputs[0]!);
    if (past) {
      if (dependent.has(past.of)) dependent.add(node.output());
      continue;
    }
    if (!node.inputs.some((input) => input && dependent.has(input))) continue;
    for (const output of node.outputs) {
      if (output && (output.dtype === undefined || continuous.has(output.dtype))) dependent.add(output);
    }
  }
  return dependent;
}
