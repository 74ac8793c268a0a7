import type { Node } from '../../graph/graph.ts';
import type { OpArguments } from '../../graph/schema/signature.ts';
import { windowCounts, windowOf } from '../../graph/schema/window.ts';
import { Tensor } from '../../graph/tensor.ts';
import type { Lowering, LoweringRule, LoweringRules } from './lowering.ts';
import { bool, float, ints, type Operand } from './program.ts';
import { windowPads } from './window.ts';

/** The ending of a pooling operator: `2d` for images. */
function rankOf(node: Node, kernel: readonly number[], lower: Lowering): string {
  if (kernel.length > 3) throw lower.unsupported(node, `pooling over ${kernel.length} axes is not lowered`);
  return `${kernel.length}d`;
}

/** What stands for minus infinity where only the largest is looked for, in a file that holds finite numbers. */
export const lowest = -3.4028234663852886e38;

const maxPool: LoweringRule<OpArguments['MaxPool']> = (node, args, lower) => {
  const window = windowOf(node, args, args.kernel_shape);
  const { symmetric, explicit } = windowPads(node, window, lower);
  const operator = `aten::max_pool${rankOf(node, window.kernel, lower)}`;
  let x = lower.tensor(node.input(0));
  if (explicit) x = lower.call('aten::constant_pad_nd', [x, ints(explicit), float(lowest)]);
  return lower.call(operator, [
    x,
    ints(window.kernel),
    ints(window.strides),
    ints(symmetric),
    ints(window.dilations),
    bool(args.ceil_mode === 1),
  ]);
};

const averagePool: LoweringRule<OpArguments['AveragePool']> = (node, args, lower) => {
  const window = windowOf(node, args, args.kernel_shape);
  const { symmetric, explicit } = windowPads(node, window, lower);
  if (window.dilations.some((d) => d !== 1))
    throw lower.unsupported(node, 'windows with gaps are not lowered');
  const operator = `aten::avg_pool${rankOf(node, window.kernel, lower)}`;
  const pooled = (x: Operand, pads: readonly number[], countPads: boolean) =>
    lower.call(operator, [
      x,
      ints(window.kernel),
      ints(window.strides),
      ints(pads),
      bool(args.ceil_mode === 1),
      bool(countPads),
    ]);
  const x = lower.tensor(node.input(0));
  if (!explicit) return pooled(x, symmetric, args.count_include_pad === 1);
  const padded = lower.call('aten::constant_pad_nd', [x, ints(explicit), float(0)]);
  const average = pooled(padded, symmetric, true);
  return args.count_include_pad === 1 ? average : recounted(node, args, average, lower);
};

/** Averages over whole windows as averages over what lies inside the input. */
function recounted(node: Node, args: OpArguments['AveragePool'], average: Operand, lower: Lowering): Operand {
  const counts = windowCounts(node, args, false);
  const whole = windowCounts(node, args, true);
  if (!counts || !whole) throw lower.unsupported(node, 'the size of its input is not known');
  const factors = Tensor.float32(
    counts.shape,
    counts.numbers.map((count, i) => whole.numbers[i]! / count),
  );
  return lower.call('aten::mul.Tensor', [average, lower.weight(`${node.output().name}_factors`, factors)]);
}

const globalPool =
  (operator: string): LoweringRule<object> =>
  (node, _args, lower) => {
    const rank = lower.rank(node, node.input(0));
    const axes = Array.from({ length: rank - 2 }, (_, i) => i + 2);
    return lower.call(operator, [lower.tensor(node.input(0)), ints(axes), bool(true)]);
  };

/** Pooling over windows, or over the whole image. */
export const poolingRules = {
  MaxPool: maxPool,
  AveragePool: averagePool,
  GlobalAveragePool: globalPool('aten::mean.dim'),
  GlobalMaxPool: globalPool('aten::amax'),
} satisfies LoweringRules;
