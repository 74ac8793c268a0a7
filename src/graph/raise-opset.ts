import { UserError } from '../common/errors.ts';
import { Builder } from './builder.ts';
import { replaceValue } from './replace.ts';
import { argumentsOf } from './schema/arguments.ts';
import { softmaxAlongOneAxis, softmaxAxes } from './schema/axes.ts';
import {
  type Formal,
  type OpArguments,
  type OpName,
  rowOf,
  rowsFor,
  type Signature,
  signatureOf,
} from './schema/signature.ts';
import { dataTypes, type NumericType, Tensor } from './tensor.ts';
import { subgraphs } from './traversal.ts';
import type { Graph, Node, Value } from './types.ts';

/**
 * Rewrites a graph of an older operator set for `target`, in place, so that nodes of that set can be added;
 * it computes the same. A graph of `target` or later stays as it is.
 * 1. Arguments go where the newer version has them: attributes become inputs.
 * 2. A default that changed is written out.
 * 3. `Softmax`, `LogSoftmax` and `Hardmax` over several axes work on a flattened copy of them.
 * 4. `Upsample` becomes `Resize`, and the first `Resize` says how it finds its places.
 * 5. A `Split` into equal parts says how many.
 *
 * @returns what stands in the place of values that are no more
 * @throws UserError at a node whose op is not in the schema, or that the newer set can not express
 */
export function raiseOpset(graph: Graph, target: number): ReadonlyMap<Value, Value> {
  const replaced = new Map<Value, Value>();
  const from = graph.opsets.get('') ?? 1;
  if (from >= target) return replaced;
  const raised = graph.nodes
    .filter((node) => node.domain === '')
    .map((node) => {
      const before = signatureOf(node);
      if (!before || subgraphs(node).length > 0) {
        throw new UserError(`${node.label} can't be rewritten from operator set ${from} for ${target}`);
      }
      const rewrite = (rowOf(rewrites, node) as Rewrite<object> | undefined)?.(node, argumentsOf(node));
      return { node, before, rewrite };
    });
  graph.opsets.set('', target);
  for (const { node, before, rewrite } of raised) {
    const after = signatureOf(node)!;
    if (after !== before) {
      moveArguments(graph, node, before, after);
      writeDefaults(node, before, after);
    }
    const result = rewrite?.(new Builder(graph, node));
    if (!result) continue;
    replaced.set(node.output(), result);
    replaceValue(graph, node.output(), result);
    graph.removeNodes([node]);
  }
  return replaced;
}

const form = ({ inputs }: Signature) => inputs.map(({ kind, variadic }) => `${kind}${variadic}`).join();

/** Puts arguments in the newer version's places; operands keep their order. */
function moveArguments(graph: Graph, node: Node, before: Signature, after: Signature): void {
  const b = new Builder(graph, node);
  if (form(before) !== form(after)) {
    const given = new Map(before.inputs.map(({ name }, i) => [name, node.inputs[i]]));
    const data = node.inputs.filter((_, i) => !before.inputs[i]?.kind);
    const inputs = after.inputs.map(({ name, kind }) =>
      kind ? (given.get(name) ?? fromAttribute(b, node, name)) : data.shift(),
    );
    while (inputs.length > node.inputs.length && inputs.at(-1) === undefined) inputs.pop();
    inputs.forEach((value, i) => {
      node.setInput(i, value);
    });
  }
  for (const name of node.attributes.keys()) {
    if (!after.attributes.some((formal) => formal.name === name)) node.removeAttribute(name);
  }
}

/** An attribute as a constant; a bound or a filling in the type of what it is compared with or put beside. */
function fromAttribute(b: Builder, node: Node, name: string): Value | undefined {
  const attribute = node.attributes.get(name);
  if (attribute?.kind === 'ints') return b.ints(attribute.value.map(Number));
  if (attribute?.kind === 'int') return b.ints([Number(attribute.value)]);
  if (attribute?.kind === 'floats') {
    return b.constant(Tensor.float32([attribute.value.length], attribute.value));
  }
  if (attribute?.kind !== 'float') return undefined;
  const scalar = b.scalar(attribute.value);
  const dtype = node.input(0).dtype as NumericType | undefined;
  return dtype && dtype !== 'float32' ? b.op('Cast', [scalar], { to: dataTypes[dtype].onnx }) : scalar;
}

/** Writes out what was left to a default that is another by now. */
function writeDefaults(node: Node, before: Signature, after: Signature): void {
  const defaultIn = (formals: readonly Formal[], name: string) =>
    formals.find((formal) => formal.name === name)?.default;
  for (const { name, default: old } of before.attributes) {
    const now = after.attributes.find((formal) => formal.name === name);
    if (!now || old === undefined || node.attributes.has(name)) continue;
    if (defaultIn(after.attributes, name) !== old) node.setAttribute(name, old);
  }
}

/** Looks at a node as it was. What it returns changes the node as it has become, or gives its result anew. */
type Rewrite<A> = (node: Node, args: A) => ((b: Builder) => Value | undefined) | undefined;

const flattenSoftmax: Rewrite<OpArguments['Softmax']> = (node, args) => {
  if (node.opset >= softmaxAlongOneAxis) return undefined;
  const shape = node.input(0).shape;
  if (!shape)
    throw new UserError(`${node.label} works on flattened axes, and the rank of its input is unknown`);
  const axes = softmaxAxes(node, args, shape.length);
  if (axes.length === 1) return undefined;
  return (b) => {
    const x = node.input(0);
    const flat = b.op('Flatten', [x], { axis: shape.length - axes.length });
    const symbolic = shape.filter((dim) => typeof dim === 'string').length;
    const target = symbolic > 1 ? undefined : shape.map((dim) => (typeof dim === 'string' ? -1 : dim));
    const result = b.op('Reshape', [
      b.op(node.op, [flat], { axis: 1 }),
      target ? b.ints(target) : b.op('Shape', [x]),
    ]);
    result.shape = shape;
    return result;
  };
};

/** How the first versions of Resize and Upsample find the places in the input. */
const firstPlaces = { coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' };

const rewrites: { readonly [O in OpName]?: Rewrite<OpArguments[O]> } = {
  ...rowsFor('Softmax LogSoftmax Hardmax', flattenSoftmax),
  Upsample:
    (node, { mode }) =>
    (b) =>
      b.op('Resize', [node.input(0), undefined, node.input(1)], { ...firstPlaces, mode }),
  Resize: (node) =>
    node.opset > 10
      ? undefined
      : () => {
          for (const [name, value] of Object.entries(firstPlaces)) node.setAttribute(name, value);
          return undefined;
        },
  Split: (node, { split }) => {
    if (split !== undefined) return undefined;
    return () => {
      if (node.opset >= 18) node.setAttribute('num_outputs', node.outputs.length);
      return undefined;
    };
  },
  BatchNormalization: (node, { spatial }) => {
    if (spatial !== 1)
      throw new UserError(`${node.label} normalizes each place by itself, which newer operator sets can't`);
    return undefined;
  },
};
