import { sameDim, sameShape } from '../graph/dim.ts';
import type { Graph, Node, Shape, Value } from '../graph/graph.ts';
import { inferNode } from '../graph/infer.ts';
import { replaceValue } from '../graph/replace.ts';
import { argumentsOf, isComputed, setArguments } from '../graph/schema/arguments.ts';
import { squeezedAxes } from '../graph/schema/axes.ts';
import { type OpArguments, type OpName, rowOf } from '../graph/schema/signature.ts';
import { isRandom } from '../graph/schema/traits.ts';
import { areNumbers, type Elements, isFloat } from '../graph/symbolic/elements.ts';
import { evaluate, type Found } from '../graph/symbolic/evaluate.ts';
import { dataTypes, type NumericType, Tensor } from '../graph/tensor.ts';
import { takeBranch } from './branches.ts';
import { isParameterName } from './parameter-names.ts';
import { reshapeTarget } from './targets.ts';

/**
 * Computes what follows from shapes and constants, with the batch as a symbol, in place.
 * 1. A small tensor whose elements are all known becomes a constant.
 * 2. `Reshape`, `Slice` and `Resize` that are told lengths by what is computed from shapes are told them by
 *    constants: 0 or -1 stands for the batch.
 * 3. A `Squeeze` that takes whatever has length 1 says which axes these are.
 * 4. An `If` whose condition is known is the branch that is taken.
 * 5. Shapes are inferred on the way; where no rule finds one, that which the file tells stays.
 *
 * It does not fire on parameters, and what follows from them alone, and not on lengths that are no product of
 * numbers and symbols: those stay computed, and their results unknown.
 */
export function foldShapes(graph: Graph): void {
  const found: Found = new Map();
  const fixed = new Set<Value>();
  const pending = [...graph.nodes].reverse();
  while (pending.length) {
    const node = pending.pop()!;
    if (node.op === 'If') {
      const made = takeBranch(graph, node, found);
      if (made) {
        pending.push(...[...made].reverse());
        continue;
      }
    }
    inferNode(node, found);
    if (ofParameters(node, fixed)) for (const output of node.outputs) if (output) fixed.add(output);
    if (isRandom(node) || node.outputs.every((output) => !output || !folds(graph, output, found, fixed))) {
      const change = rowOf(told, node) as Telling<OpName> | undefined;
      if (change?.(graph, node, argumentsOf(node), found)) inferNode(node, found);
    }
  }
  graph.removeDead();
}

/** Does a node depend on parameters, and on constants otherwise? */
function ofParameters(node: Node, fixed: ReadonlySet<Value>): boolean {
  return node.inputs.some(
    (input) =>
      input && (fixed.has(input) || (input.tensor && isFloat(input.dtype) && isParameterName(input.name))),
  );
}

/** Replaces a value by the constant that it is known to be. */
function folds(graph: Graph, value: Value, found: Found, fixed: ReadonlySet<Value>): boolean {
  if (fixed.has(value) && isFloat(value.dtype)) return false;
  const elements = evaluate(value, found);
  if (!elements || !areNumbers(elements) || graph.outputs.includes(value)) return false;
  const constant = graph.addConstant(graph.uniqueName(`${value.name}_known`), tensorOf(elements));
  replaceValue(graph, value, constant);
  return true;
}

function tensorOf({ dtype, shape, values }: Elements): Tensor {
  const { array } = dataTypes[dtype as NumericType];
  const wide = array === BigInt64Array || array === BigUint64Array;
  const data = new array(values.length);
  values.forEach((value, i) => {
    data[i] = (wide ? BigInt(value as number) : value) as never;
  });
  return new Tensor(dtype, shape, data);
}

/** Tells a node by constants what it is told by computed values. @returns whether it did */
type Telling<O extends OpName> = (graph: Graph, node: Node, args: OpArguments[O], found: Found) => boolean;

const constantOf = (graph: Graph, hint: string) => (tensor: Tensor) =>
  graph.addConstant(graph.uniqueName(hint), tensor);

const reshape: Telling<'Reshape'> = (graph, node, { shape, allowzero }) => {
  const [from, to] = [node.input(0).shape, node.output().shape];
  if (!from || !to) return false;
  const target = reshapeTarget(from, to);
  if (!target || (!isComputed(shape) && allowzero === 0)) return false;
  if (allowzero === 1) node.removeAttribute('allowzero');
  setArguments<'Reshape'>(node, { shape: target }, constantOf(graph, `${node.output().name}_shape`));
  return true;
};

/** A Slice that ends at a symbolic length takes all of it. */
const slice: Telling<'Slice'> = (graph, node, { starts, ends, axes }, found) => {
  const shape = node.input(0).shape;
  if (isComputed(starts) || !isComputed(ends) || (axes !== undefined && isComputed(axes)) || !shape)
    return false;
  const places = evaluate(ends, found)?.values.map((end, i) => {
    const axis = axes?.[i] ?? i;
    if (typeof end === 'number') return end;
    return sameDim(end, shape.at(axis)) ? Number.MAX_SAFE_INTEGER : undefined;
  });
  if (!places?.every((place) => place !== undefined)) return false;
  setArguments<'Slice'>(node, { ends: places }, constantOf(graph, `${node.output().name}_ends`));
  return true;
};

/** A Resize to lengths says those that change, and of which axes they are. */
const resize: Telling<'Resize'> = (graph, node, { sizes, axes }) => {
  const [from, to] = [node.input(0).shape, node.output().shape];
  if (!sizes || axes || !from || !to || node.opset < 18) return false;
  const changed = to.flatMap((dim, axis) => (sameDim(dim, from[axis]) ? [] : [axis]));
  const lengths = changed.map((axis) => to[axis]);
  if (!isComputed(sizes) && !from.some((dim) => typeof dim === 'string')) return false;
  if (!lengths.every((length) => typeof length === 'number') || changed.length === 0) return false;
  node.setAttribute('axes', changed);
  setArguments<'Resize'>(node, { sizes: lengths }, constantOf(graph, `${node.output().name}_sizes`));
  return true;
};

const squeeze: Telling<'Squeeze'> = (graph, node, args) => {
  const shape: Shape | undefined = node.input(0).shape;
  if (args.axes !== undefined || !shape || shape.some((dim) => typeof dim === 'string' && dim.includes('?')))
    return false;
  const axes = squeezedAxes(args, shape)!;
  setArguments<'Squeeze'>(node, { axes }, constantOf(graph, `${node.output().name}_axes`));
  return true;
};

/** An Expand to the shape that is there already passes on what it is given. */
const expand: Telling<'Expand'> = (graph, node) => {
  if (!sameShape(node.input(0).shape, node.output().shape) || graph.outputs.includes(node.output()))
    return false;
  graph.replaceUses(node.output(), node.input(0));
  return false;
};

const told: { readonly [O in OpName]?: Telling<O> } = {
  Reshape: reshape,
  Slice: slice,
  Resize: resize,
  Squeeze: squeeze,
  Expand: expand,
};
