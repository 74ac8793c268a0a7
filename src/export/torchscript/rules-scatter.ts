import { normalizeAxis } from '../../graph/dim.ts';
import type { Node } from '../../graph/graph.ts';
import type { OpArguments } from '../../graph/schema/signature.ts';
import { Tensor } from '../../graph/tensor.ts';
import type { Lowering, LoweringRule, LoweringRules } from './lowering.ts';
import { int, ints, type Operand } from './program.ts';

/** Indices of an axis of known length, none of them negative. */
function wrapped(node: Node, axis: number, lower: Lowering): Operand {
  const indices = node.input(1);
  const length = node.input(0).shape?.[axis];
  if (indices.tensor?.integers.every((index) => index >= 0)) return lower.tensor(indices);
  if (typeof length !== 'number')
    throw lower.unsupported(node, 'it may count from the end of an unknown length');
  return lower.call('aten::remainder.Scalar', [lower.tensor(indices), int(length)]);
}

const scatterElements: LoweringRule<OpArguments['ScatterElements']> = (node, args, lower) => {
  const axis = normalizeAxis(args.axis, lower.rank(node, node.input(0)));
  const operators: Record<string, string> = { none: 'aten::scatter.src', add: 'aten::scatter_add' };
  const operator = operators[args.reduction];
  if (!operator) throw lower.unsupported(node, `reduction ${args.reduction} is not lowered`);
  const [data, updates] = [lower.tensor(node.input(0)), lower.tensor(node.input(2))];
  return lower.call(operator, [data, int(axis), wrapped(node, axis, lower), updates]);
};

/** The axes that indices go through, as one: where each index points. */
interface Flat {
  places: Operand;
  /** Lengths of the axes, and of those behind them. */
  through: number[];
  behind: readonly (number | string)[];
}

function flatPlaces(node: Node, lower: Lowering): Flat {
  const [data, indices] = [node.input(0), node.input(1)];
  lower.rank(node, data);
  const depth = indices.shape?.at(-1);
  const through = data.shape!.slice(0, typeof depth === 'number' ? depth : 0);
  if (!indices.tensor || typeof depth !== 'number' || !through.every((dim) => typeof dim === 'number')) {
    throw lower.unsupported(node, 'its places are not known beforehand');
  }
  const lengths = through as number[];
  const { integers } = indices.tensor;
  const places = Array.from({ length: integers.length / depth }, (_, i) =>
    lengths.reduce((place, length, axis) => {
      const index = integers[i * depth + axis]!;
      return place * length + (index < 0 ? index + length : index);
    }, 0),
  );
  return {
    places: lower.weight(`${node.output().name}_places`, Tensor.int64(places)),
    through: lengths,
    behind: data.shape!.slice(depth),
  };
}

const joined = (x: Operand, { through, behind }: Flat, lower: Lowering): Operand =>
  through.length === 1 ? x : lower.call('aten::reshape', [x, ints([-1, ...known(behind)])]);

/** Lengths behind the places: one of them may be found at run time only. */
function known(dims: readonly (number | string)[]): number[] {
  return dims.map((dim) => (typeof dim === 'number' ? dim : -1));
}

const scatterND: LoweringRule<OpArguments['ScatterND']> = (node, { reduction }, lower) => {
  const operators: Record<string, string> = { none: 'aten::index_copy', add: 'aten::index_add' };
  const operator = operators[reduction];
  if (!operator) throw lower.unsupported(node, `reduction ${reduction} is not lowered`);
  const flat = flatPlaces(node, lower);
  if (flat.behind.some((dim) => typeof dim === 'string')) {
    throw lower.unsupported(node, 'the lengths behind its places are not known');
  }
  const count = flat.places.kind === 'weight' ? flat.places.tensor.size : -1;
  const updates = lower.call('aten::reshape', [
    lower.tensor(node.input(2)),
    ints([count, ...known(flat.behind)]),
  ]);
  const written = lower.call(operator, [
    joined(lower.tensor(node.input(0)), flat, lower),
    int(0),
    flat.places,
    updates,
  ]);
  return lower.call('aten::reshape', [written, ints([...flat.through, ...known(flat.behind)])]);
};

const gatherND: LoweringRule<OpArguments['GatherND']> = (node, { batch_dims }, lower) => {
  if (batch_dims !== 0) throw lower.unsupported(node, 'gathering batch by batch is not lowered');
  const flat = flatPlaces(node, lower);
  const picked = lower.call('aten::index_select', [
    joined(lower.tensor(node.input(0)), flat, lower),
    int(0),
    flat.places,
  ]);
  const outer = node.input(1).staticShape.slice(0, -1);
  if (outer.length === 1) return picked;
  if (flat.behind.some((dim) => typeof dim === 'string')) {
    throw lower.unsupported(node, 'the lengths behind its places are not known');
  }
  return lower.call('aten::reshape', [picked, ints([...outer, ...known(flat.behind)])]);
};

/** Writing to places, and reading from them. */
export const scatterRules = {
  ScatterElements: scatterElements,
  ScatterND: scatterND,
  GatherND: gatherND,
} satisfies LoweringRules;
