import type { Graph, Value } from '../graph/graph.ts';
import { replaceValue } from '../graph/replace.ts';
import type { Engine } from '../runtime/session.ts';
import { type ConvolutionSum, type Lead, sumOf } from './convolution-sum.ts';
import { WeightGraph } from './weight-graph.ts';

/**
 * Makes one convolution of what is linear in the neighbourhoods of an image, in place: the form in which blocks that
 * were trained with parallel branches are run ("RepVGG", arXiv 2101.03697).
 * 1. `BatchNormalization(Conv(x))` becomes a `Conv`, as does a convolution whose channels are multiplied by, or added
 *    to, a constant each.
 * 2. Sums and differences of convolutions of the same x, and of x itself, normalized or not, become the one of them
 *    whose kernel covers the others', with zeros around the smaller ones and a single one for x.
 *
 * It does not fire
 * - when somebody else reads a part of the sum, or another layer its weight;
 * - where groups or strides differ, a dilated kernel meets another, or no kernel covers the others (a row and a column
 *   would make a square, which costs more);
 * - on x itself beside a convolution that gives other channels or another size;
 * - on anything but float32 constants.
 *
 * @returns how many nodes went
 */
export async function mergeConvolutions(engine: Engine, graph: Graph): Promise<number> {
  const sums = new Map<Value, ConvolutionSum>();
  for (const node of graph.nodes) {
    const sum = sumOf(graph, node, sums);
    if (sum) sums.set(node.output(), sum);
  }
  const parts = new Set([...sums.values()].flatMap(({ nodes }) => nodes.slice(0, -1)));
  let count = 0;
  for (const [value, sum] of sums) {
    if (!sum.lead || sum.nodes.length < 2 || parts.has(sum.nodes.at(-1)!)) continue;
    await write(engine, graph, value, sum, sum.lead);
    count += sum.nodes.length - 1;
  }
  return count;
}

async function write(engine: Engine, graph: Graph, value: Value, sum: ConvolutionSum, lead: Lead) {
  const weights = new WeightGraph();
  const { kernel, bias } = sum.write(weights, lead);
  const [newKernel, newBias] = await weights.compute(engine, bias ? [kernel, bias] : [kernel]);
  const { node } = lead;
  const weight = node.input(1);
  graph.setConstant(weight, newKernel!);
  if (newBias) {
    const old = node.inputs[2];
    const name = `${weight.name.replace(/\.weight$/, '')}.bias`;
    if (old) graph.setConstant(old, newBias);
    else node.setInput(2, graph.addConstant(graph.uniqueName(name), newBias));
  }
  replaceValue(graph, value, node.output());
  graph.removeNodes(sum.nodes.filter((part) => part !== node));
}
