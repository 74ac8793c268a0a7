import { parameters } from './parameters.ts';
import { type OpName, rowOf, rowsFor } from './schema/signature.ts';
import type { Graph, Node, Value } from './types.ts';

/** What an op makes of a constant operand: it learned its numbers, hands them on, or neither. */
type Reading = 'learned' | 'handed on' | 'other';

type ReadingRule = (node: Node, index: number) => Reading;

const when = (learned: boolean): Reading => (learned ? 'learned' : 'other');

/** Whether a value is made of constants alone, as far as a look at its producers' inputs tells. */
function isConstantMade(value: Value): boolean {
  if (!value.producer) return value.isConstant;
  return value.producer.inputs.every((input) => !input || isConstantMade(input));
}

/** The weight is on the right; on the left only where data is on the right. */
const product: ReadingRule = (node, index) => when(index > 0 || !isConstantMade(node.input(1)));

const scaleAndShift: ReadingRule = (_node, index) => when(index === 1 || index === 2);

/** The constant that a value is, or was before it was moved about. */
function sourceOf(value: Value): Value | undefined {
  return value.producer ? value.producer.inputs[0] && sourceOf(value.producer.input(0)) : value;
}

/** Biases, tokens and position embeddings; not masks, which push scores out of a softmax. */
const masked = 50;
const added: ReadingRule = (node, index) => {
  const tensor = sourceOf(node.input(index))?.tensor;
  if (tensor && tensor.dtype !== 'float32') return 'learned';
  const numbers = tensor?.floats;
  return when(numbers?.every((number) => Math.abs(number) < masked) ?? false);
};

/** A scale of channels has one axis; tables of sines and cosines have more. */
const scale: ReadingRule = (node, index) =>
  when((node.input(index).shape ?? []).filter((dim) => dim !== 1).length === 1);

const handedOn = (_node: Node, index: number): Reading => (index === 0 ? 'handed on' : 'other');

/** How each op reads a constant, keyed by `Node.op`; ops that are not here learned nothing. */
const readings: { readonly [O in OpName]?: ReadingRule } = {
  ...rowsFor('MatMul com.microsoft.FusedMatMul Gemm', product),
  ...rowsFor('Conv ConvTranspose', (_node: Node, index: number) => when(index > 0)),
  ...rowsFor(
    'LayerNormalization RMSNormalization SimplifiedLayerNormalization BatchNormalization InstanceNormalization GroupNormalization',
    scaleAndShift,
  ),
  ...rowsFor('Add Sub Sum Concat', added),
  Mul: scale,
  PRelu: (_node, index) => when(index === 1),
  Einsum: () => 'learned',
  ...rowsFor('Transpose Reshape Flatten Squeeze Unsqueeze Identity Expand Tile Slice Split Gather', handedOn),
};

/** Whether any reader of a value, or of what it is handed on as, reads learned numbers. */
function isLearned(value: Value): boolean {
  return value.uses.some(({ node, index }) => {
    const reading = rowOf(readings, node)?.(node, index) ?? 'other';
    if (reading !== 'handed on') return reading === 'learned';
    return node.outputs.some((output) => output && isLearned(output));
  });
}

/**
 * The constants of a graph from elsewhere that were learned, by what reads them: weights of products and
 * convolutions, scales and shifts of norms, what is added to or joined with data. Not running statistics, masks,
 * tables of sines, or single numbers.
 */
export function learnedConstants(graph: Graph): Value[] {
  return [...graph.constants.values()].filter(
    (value) => value.dtype?.startsWith('float') && value.tensor!.size > 1 && isLearned(value),
  );
}

/** A model's parameters: those on record, or where none are the constants that its layers have learned. */
export function modelParameters(graph: Graph): Value[] {
  const recorded = parameters(graph);
  return recorded.length ? recorded : learnedConstants(graph);
}
