import { UserError } from '../common/errors.ts';
import { type Linear, linears } from '../graph/linear.ts';
import { type OpName, rowsFor } from '../graph/schema/signature.ts';
import type { Graph, Value } from '../graph/types.ts';
import { modelInfo, remember, setModelInfo } from './model-info.ts';
import { type Initializer, randomParameters } from './parameter-source.ts';

/** Ops between the last Linear and the logits that keep every class in its place. */
const passing: { readonly [O in OpName]?: true } = { ...rowsFor('Add Sum Mul Div Identity Cast', true) };

/** timm's `trunc_normal_` of heads. */
const weights: Initializer = { kind: 'normal', std: 0.02 };
const zeros: Initializer = { kind: 'constant', value: 0 };

/**
 * Gives a classifier new classes, in place: the Linears that make its logits (two of a distilled DeiT) get fresh
 * weights for them, all the others stay.
 * @returns the names of the weights that are new
 * @throws UserError when the model is no classifier, or its logits are not made by Linears
 */
export function newHead(graph: Graph, classes: readonly string[], seed = 0): string[] {
  const info = modelInfo(graph);
  const [logits] = graph.outputs;
  if (info.numClasses === 0 || !logits) {
    throw new UserError('the model has no classifier (num_classes 0) to give a new head to');
  }
  const { values, heads } = headsOf(graph, logits);
  const source = randomParameters(seed);
  const fresh = heads.flatMap(({ weight, bias, layout }) => {
    const [rows, columns] = weight.staticShape as [number, number];
    const shape = layout === 'out,in' ? [classes.length, columns] : [rows, classes.length];
    graph.setConstant(weight, source(weight.name, shape, weights));
    if (!bias) return [weight.name];
    graph.setConstant(bias, source(bias.name, [classes.length], zeros));
    return [weight.name, bias.name];
  });
  for (const value of values) value.shape = [...value.shape!.slice(0, -1), classes.length];
  for (const { weight } of heads) reshapeTransposed(weight);
  setModelInfo(graph, { ...info, numClasses: classes.length, classNames: [...classes] });
  remember(graph, `new head: ${classes.length} classes`);
  return fresh;
}

/** The Linears that make the logits, and all that lies from them on. */
function headsOf(graph: Graph, logits: Value): { values: Value[]; heads: Linear[] } {
  const byOutput = new Map(linears(graph).map((linear) => [linear.output, linear]));
  const values = new Set<Value>();
  const heads: Linear[] = [];
  const visit = (value: Value) => {
    if (values.has(value) || value.isConstant) return;
    values.add(value);
    const head = byOutput.get(value);
    if (head) {
      heads.push(head);
      values.add(head.product.output());
      return;
    }
    const { producer } = value;
    if (!producer || !(producer.op in passing)) {
      throw new UserError(
        `the logits of ${graph.name} are made by ${producer?.label ?? value.name}, not by a Linear that could be made anew`,
      );
    }
    for (const input of producer.inputs) if (input) visit(input);
  };
  visit(logits);
  return { values: [...values], heads };
}

/** The shape of a weight's transposed form, where the graph has one. */
function reshapeTransposed(weight: Value): void {
  for (const { node } of weight.uses) {
    if (node.op === 'Transpose') node.output().shape = weight.staticShape.toReversed();
  }
}
