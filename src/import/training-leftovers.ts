import type { Graph, Node } from '../graph/graph.ts';
import { replaceValue } from '../graph/replace.ts';
import { argumentsOf, isComputed } from '../graph/schema/arguments.ts';
import type { ImportContext } from './pass.ts';

/**
 * Takes out what a model was trained with, so that it computes what it does in use.
 * 1. A `Dropout` in training mode is one in inference.
 * 2. A `BatchNormalization` in training mode normalizes by its running statistics.
 *
 * It does not fire on a `Dropout` whose mask is read, and on a mode that is computed.
 */
export function trainingLeftovers(graph: Graph, { notes }: ImportContext): void {
  for (const node of [...graph.nodes]) {
    if (node.op === 'Dropout') {
      const { training_mode: training } = argumentsOf<'Dropout'>(node);
      if (!training || isComputed(training) || node.outputs[1]?.uses.length) continue;
      node.setInput(2, undefined);
      notes.push(`${node.label} was in training mode: it is left out`);
    } else if (node.op === 'BatchNormalization') {
      const training = argumentsOf<'BatchNormalization'>(node).training_mode === 1;
      if (node.outputs.length === 1 || node.outputs.slice(1).some((output) => output?.uses.length)) continue;
      if (training) notes.push(`${node.label} was in training mode: it normalizes by its running statistics`);
      withoutStatistics(graph, node);
    }
  }
}

function withoutStatistics(graph: Graph, node: Node): void {
  const { training_mode: _, ...attributes } = Object.fromEntries(node.attributes);
  const made = graph.addNode({
    opType: node.opType,
    name: node.name,
    inputs: node.inputs,
    outputs: [graph.uniqueName(`${node.output().name}_inferred`)],
    attributes,
    before: node,
  });
  made.carried = node.carried;
  [made.output().dtype, made.output().shape] = [node.output().dtype, node.output().shape];
  replaceValue(graph, node.output(), made.output());
  graph.removeNodes([node]);
}
