import type { Node } from '../../graph/graph.ts';
import { resizedAxes, resizeMatrix } from '../../graph/schema/resize.ts';
import type { OpArguments } from '../../graph/schema/signature.ts';
import { windowCounts, windowOf } from '../../graph/schema/window.ts';
import { Tensor } from '../../graph/tensor.ts';
import type { Lowering, LoweringRule, LoweringRules } from './lowering.ts';
import type { FileTensor } from './program.ts';
import { fullyConnected, paddedImage, toChannelsFirst, toChannelsLast } from './rules-linear.ts';

type Pool = OpArguments['AveragePool' | 'MaxPool'];

/** Less than any number, for places outside an image that no maximum may choose. */
const lowest = -3.4028234663852886e38;

/**
 * A pool over windows that all lie inside: the image with what `pads` and a last window that reaches over its
 * end (`ceil_mode`) ask for around it.
 */
function pooled(
  builtin: 'AVERAGE_POOL_2D' | 'MAX_POOL_2D',
  node: Node,
  args: Pool,
  lower: Lowering,
  outside?: number,
): { result: FileTensor; area: number } {
  const { kernel, strides, dilations, pads } = windowOf(node, args, args.kernel_shape);
  if (kernel.length !== 2) throw lower.unsupported(node, 'only pools of images are lowered');
  if (dilations.some((step) => step !== 1)) throw lower.unsupported(node, 'its window has holes');
  const [n, c, h, w] = node.output().staticShape as [number, number, number, number];
  const x = lower.transpose(lower.tensor(node.input(0)), toChannelsLast);
  const around = pads.map((pad, i) => {
    const reach = ([h, w][i]! - 1) * strides[i]! + kernel[i]!;
    return { before: pad!.before, after: Math.max(0, reach - pad!.before - x.shape[1 + i]!) };
  });
  const options = {
    padding: 1,
    strideH: strides[0]!,
    strideW: strides[1]!,
    filterH: kernel[0]!,
    filterW: kernel[1]!,
  };
  const result = lower.call(builtin, [paddedImage(x, around, lower, outside)], [n, h, w, c], options);
  return { result, area: kernel[0]! * kernel[1]! };
}

const maxPool: LoweringRule<OpArguments['MaxPool']> = (node, args, lower) =>
  lower.transpose(pooled('MAX_POOL_2D', node, args, lower, lowest).result, toChannelsFirst);

/** The mean over windows padded with zeros, each by what of it counts. */
const averagePool: LoweringRule<OpArguments['AveragePool']> = (node, args, lower) => {
  const { result, area } = pooled('AVERAGE_POOL_2D', node, args, lower);
  const counts = windowCounts(node, args, args.count_include_pad === 1);
  if (!counts) throw lower.unsupported(node, 'its lengths are not known');
  const factors = counts.numbers.map((count) => area / count);
  const whole = factors.every((factor) => factor === 1);
  const [h, w] = counts.shape as [number, number];
  const scaled = whole
    ? result
    : lower.binary('MUL', result, lower.constant(Tensor.float32([h, w, 1], factors)));
  return lower.transpose(scaled, toChannelsFirst);
};

const largest: LoweringRule<object> = (node, _args, lower) =>
  lower.reduce('REDUCE_MAX', lower.tensor(node.input(0)), [2, 3]);

/** Each axis by itself is a product with a matrix of weights, in every mode. */
const resize: LoweringRule<OpArguments['Resize']> = (node, args, lower) => {
  const axes = resizedAxes(node, args);
  if (!axes) throw lower.unsupported(node, 'its size is computed');
  return axes.reduce(
    (x, resized) => {
      const last = x.shape.length - 1;
      const swap = x.shape.map((_, i) => (i === resized.axis ? last : i === last ? resized.axis : i));
      const matrix = lower.constant(Tensor.float32([resized.to, resized.from], resizeMatrix(resized, args)));
      if (resized.axis === last) return fullyConnected(x, matrix, undefined, lower);
      return lower.transpose(fullyConnected(lower.transpose(x, swap), matrix, undefined, lower), swap);
    },
    lower.tensor(node.input(0)),
  );
};

/** What slides over an image, and what makes it larger or smaller. */
export const windowRules = {
  MaxPool: maxPool,
  AveragePool: averagePool,
  GlobalMaxPool: largest,
  Resize: resize,
} satisfies LoweringRules;
