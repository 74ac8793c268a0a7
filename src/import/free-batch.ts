import { UserError } from '../common/errors.ts';
import { divideDims, isUnknown, multiplyDims } from '../graph/dim.ts';
import type { Dim, Graph, Node, Shape } from '../graph/graph.ts';
import { inferGraph, inferNode } from '../graph/infer.ts';
import { argumentsOf, isComputed, setArguments } from '../graph/schema/arguments.ts';
import { type OpName, rowOf } from '../graph/schema/signature.ts';
import type { Tensor } from '../graph/tensor.ts';
import { batchSymbol } from './batch.ts';
import type { ImportContext } from './pass.ts';
import { reshapeTarget } from './targets.ts';

/** Batch sizes that a freed graph is inferred with, to see whether anything in it holds on to the file's. */
const trials = [3, 5];

/**
 * Frees the batch of a file that was written for one of fixed size: the input's first axis becomes a symbol, and
 * `Reshape` and `Resize`, which are told it, are told 0, -1 or nothing in its place. Only where shape inference then
 * holds for other batches, and every output has their size; else the batch stays, and a note says so.
 */
export function freeBatch(graph: Graph, { notes }: ImportContext): void {
  const batch = graph.inputs[0]?.shape?.[0];
  if (graph.inputs.length !== 1 || typeof batch !== 'number') return;
  const { graph: attempt } = graph.clone();
  try {
    loosen(attempt, batch);
    for (const size of trials) holdsFor(attempt, batch, size);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    notes.push(`the batch stays ${batch}, as the file has it: ${error.message}`);
    return;
  }
  loosen(graph, batch);
}

function loosen(graph: Graph, batch: number): void {
  const [input] = graph.inputs;
  input!.shape = input!.shape!.with(0, batchSymbol);
  const before = new Map(
    graph.nodes.flatMap(({ outputs }) =>
      outputs.flatMap((value) => (value?.shape ? [[value, value.shape] as const] : [])),
    ),
  );
  const fixed = new Map([[input!, input!.shape!.with(0, batch)] as const, ...before]);
  for (const node of graph.nodes) {
    const change = rowOf(tellings, node);
    const [from, to] = [
      node.inputs[0] && fixed.get(node.inputs[0]),
      node.outputs[0] && before.get(node.outputs[0]),
    ];
    if (from && to && node.input(0).shape?.some((dim) => typeof dim === 'string'))
      change?.(graph, node, from, to);
    for (const output of node.outputs) if (output) output.shape = undefined;
    inferNode(node);
  }
}

/** Tells a node lengths that hold for any batch. `from` and `to` are the shapes it had. */
type Telling = (graph: Graph, node: Node, from: Shape, to: Shape) => void;

const constantOf = (graph: Graph, hint: string) => (tensor: Tensor) =>
  graph.addConstant(graph.uniqueName(hint), tensor);

const reshape: Telling = (graph, node, from, to) => {
  const now = node.input(0).shape!;
  if (isComputed(argumentsOf<'Reshape'>(node).shape)) return;
  const freed = withBatch(from, now, to);
  const target = freed && reshapeTarget(now, freed);
  if (!target) throw new UserError(`${node.label} can't be told its shape`);
  node.removeAttribute('allowzero');
  setArguments<'Reshape'>(node, { shape: target }, constantOf(graph, `${node.output().name}_shape`));
};

/** The shape that is made, where the batch is in the axis at the same place in memory. */
function withBatch(from: Shape, now: Shape, to: Shape): Shape | undefined {
  const at = now.findIndex((dim) => typeof dim === 'string');
  const size = (dims: Shape) => multiplyDims(dims);
  const [start, total] = [size(from.slice(0, at)), size(now)];
  if (typeof start !== 'number' || isUnknown(total)) return undefined;
  let before = 1;
  for (const [axis, dim] of to.entries()) {
    if (typeof dim !== 'number') return undefined;
    if (before * dim > start || (before === start && divisible(to, axis, total))) {
      const rest: Dim | undefined = divideDims(total, size(to.filter((_, i) => i !== axis)));
      return rest === undefined ? undefined : to.with(axis, rest);
    }
    before *= dim;
  }
  return undefined;
}

const divisible = (to: Shape, axis: number, total: Dim): boolean =>
  divideDims(total, multiplyDims(to.filter((_, i) => i !== axis))) !== undefined;

const resize: Telling = (graph, node, from, to) => {
  const { sizes, axes } = argumentsOf<'Resize'>(node);
  if (!sizes || axes || isComputed(sizes) || node.opset < 18) return;
  const changed = [...to.keys()].filter((axis) => to[axis] !== from[axis]);
  if (changed.length === 0) changed.push(to.length - 1);
  node.setAttribute('axes', changed);
  setArguments<'Resize'>(
    node,
    { sizes: changed.map((axis) => to[axis] as number) },
    constantOf(graph, `${node.output().name}_sizes`),
  );
};

const tellings: { readonly [O in OpName]?: Telling } = { Reshape: reshape, Resize: resize };

/** @throws UserError when shapes contradict each other for a batch of this size, or an output is not of it */
function holdsFor(freed: Graph, batch: number, size: number): void {
  const { graph } = freed.clone();
  const outputs = graph.outputs.map(({ shape }) => shape);
  graph.inputs[0]!.shape = graph.inputs[0]!.shape!.with(0, size);
  for (const { outputs: made } of graph.nodes) for (const value of made) if (value) value.shape = undefined;
  inferGraph(graph);
  graph.outputs.forEach(({ name, shape }, i) => {
    const first = outputs[i]?.[0];
    const wanted =
      typeof first === 'string'
        ? multiplyDims([...first.split('*').map((part) => (part === batchSymbol ? size : Number(part)))])
        : first;
    if (
      !shape ||
      shape.some((dim) => typeof dim !== 'number') ||
      shape[0] !== wanted ||
      (typeof first !== 'string' && batch !== 1)
    ) {
      throw new UserError(`its output ${name} has not the size of the batch`);
    }
  });
}
