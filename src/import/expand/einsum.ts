import type { Builder } from '../../graph/builder.ts';
import type { Node, Value } from '../../graph/graph.ts';
import { einsumLabels } from '../../graph/schema/einsum.ts';
import type { OpArguments } from '../../graph/schema/signature.ts';
import { type NumericType, Tensor } from '../../graph/tensor.ts';

type Labels = readonly string[];
const same = (a: Labels, b: Labels): boolean =>
  a.length === b.length && a.every((label, i) => label === b[i]);
const repeats = (labels: Labels): boolean => new Set(labels).size < labels.length;

/** A value with its axes in another order. */
function arranged(b: Builder, x: Value, from: Labels, to: Labels, name: string): Value {
  return same(from, to) ? x : b.op('Transpose', [x], { perm: to.map((label) => from.indexOf(label)) }, name);
}

/**
 * An Einsum of two operands as the MatMul that it is.
 * 1. By a constant: `...ij,kj->...ik`, and with several axes of heads, `bnhd,hdk->bnk` and `bnk,khd->bnhd`.
 * 2. Of two values that share leading axes: `bhid,bhjd->bhij`, `bihd,bjhd->bhij`.
 *
 * It does not fire where an axis is summed within one operand, stands twice in one, or is summed without a letter.
 */
export function einsum(b: Builder, node: Node, args: OpArguments['Einsum']): Value | undefined {
  const labels = einsumLabels(node, args);
  if (labels?.inputs.length !== 2) return undefined;
  const [left, right] = labels.inputs as [Labels, Labels];
  const { output } = labels;
  if ([left, right, output].some(repeats)) return undefined;
  const summed = left.filter((label) => right.includes(label) && !output.includes(label));
  const alone = [...left, ...right].some(
    (label) => !output.includes(label) && !(left.includes(label) && right.includes(label)),
  );
  if (alone || summed.length === 0 || summed.some((label) => label.startsWith('.'))) return undefined;
  const shared = output.filter((label) => left.includes(label) && right.includes(label));
  const own = (of: Labels) => output.filter((label) => of.includes(label) && !shared.includes(label));
  const parts = { left, right, output, shared, rows: own(left), columns: own(right) };
  if (shared.length === 0 && node.input(1).tensor) return byWeight(b, node, parts);
  return summed.length === 1 ? ofValues(b, node, parts, summed[0]!) : undefined;
}

interface Parts {
  readonly left: Labels;
  readonly right: Labels;
  readonly output: Labels;
  /** Labels of both operands and the output, and of one operand and the output. */
  readonly shared: Labels;
  readonly rows: Labels;
  readonly columns: Labels;
}

/** `[..., k] [k, c]`, or `[c, k]` turned; axes that go together are one for the product. */
function byWeight(
  b: Builder,
  node: Node,
  { left, right, output, rows, columns: any }: Parts,
): Value | undefined {
  const columns = right.filter((label) => any.includes(label));
  const summed = right.filter((label) => !any.includes(label));
  const turned = same(right, [...columns, ...summed]);
  if (!turned && !same(right, [...summed, ...columns])) return undefined;
  const { shape, dtype, data } = node.input(1).tensor!;
  const lengthOf = (label: string) => shape[right.indexOf(label)]!;
  const lengths = [columns, summed].map((axes) => axes.reduce((size, label) => size * lengthOf(label), 1));
  const matrix =
    right.length === 2
      ? node.input(1)
      : b.constant(
          new Tensor(dtype as NumericType, turned ? lengths : lengths.reverse(), data as Float32Array),
          'weight',
        );
  const x = arranged(b, node.input(0), left, [...rows, ...summed], 'arranged');
  const kept = rows.map(() => 0);
  const flat = summed.length === 1 ? x : b.op('Reshape', [x, b.ints([...kept, -1])], {}, 'joined');
  const weight = turned ? b.op('Transpose', [matrix], { perm: [1, 0] }, 'weight_t') : matrix;
  const product = b.op('MatMul', [flat, weight], {}, 'matmul');
  const split =
    columns.length === 1
      ? product
      : b.op('Reshape', [product, b.ints([...kept, ...columns.map(lengthOf)])], {}, 'split');
  return arranged(b, split, [...rows, ...columns], output, 'product');
}

function ofValues(
  b: Builder,
  node: Node,
  { left, right, output, shared, rows, columns }: Parts,
  summed: string,
): Value | undefined {
  if (rows.length !== 1 || columns.length !== 1) return undefined;
  const x = arranged(b, node.input(0), left, [...shared, ...rows, summed], 'left');
  const y = arranged(b, node.input(1), right, [...shared, summed, ...columns], 'right');
  const product = b.op('MatMul', [x, y], {}, 'matmul');
  return arranged(b, product, [...shared, ...rows, ...columns], output, 'product');
}
