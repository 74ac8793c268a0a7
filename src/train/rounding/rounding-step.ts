import { backward, gradientOpset } from '../../autodiff/backward.ts';
import { Builder } from '../../graph/builder.ts';
import { Graph, type Value } from '../../graph/graph.ts';
import { adamWUpdate } from '../adamw.ts';

/** How far the sigmoid reaches beyond 0 and 1, so that both can be reached (Louizos et al., arXiv 1712.01312). */
export const stretch = { low: -0.1, high: 1.1 } as const;

/** What a step reads that changes from step to step. */
export const stepScalars = ['weight', 'stepSize', 'epsilon'] as const;

/**
 * One step of learning how a weight is rounded (AdaRound, arXiv 2004.10568), as a graph. Of each number the share `h` of a step
 * that it lies above the whole number below it is `clip(1.2 sigmoid(v) - 0.1, 0, 1)`. With D what the weight then is off, G and C
 * the moments of what the layer reads (`Moments`), all `[in, out]` or `[in, in]`:
 *
 *     loss = sum(D (G D + 2 C)) * unit + weight * sum(h (1 - h))
 *
 * the first is what the layer's outputs are off, squared, over all rows that were seen, but for a constant. Its gradient by v is
 * that of the autodiff; Adam makes the step.
 *
 * Inputs: `v`, `m`, `u` (the moments of Adam); `below` and `room`, the whole number below and how far the one above is from it (0 or 1); `scale`, `exact`; `G`, `C`, `unit`; `stepScalars`.
 * Outputs: `next.v`, `next.m`, `next.u`, `loss`.
 * @param scaleShape of `scale`, which is broadcast
 */
export function roundingStep(inputs: number, outputs: number, scaleShape: readonly number[]): Graph {
  const graph = new Graph('rounding');
  graph.opsets.set('', gradientOpset);
  const b = new Builder(graph);
  const matrix = (name: string, shape: readonly number[] = [inputs, outputs]) =>
    graph.addInput(name, 'float32', shape);
  const [v, m, u] = [matrix('v'), matrix('m'), matrix('u')];
  const [below, room, exact] = [matrix('below'), matrix('room'), matrix('exact')];
  const scale = matrix('scale', scaleShape);
  const [gram, cross] = [matrix('G', [inputs, inputs]), matrix('C')];
  const scalar = (name: string) => graph.addInput(name, 'float32', []);
  const unit = scalar('unit');
  const [weight, stepSize, epsilon] = stepScalars.map(scalar);

  const { low, high } = stretch;
  const wide = b.op('Add', [b.op('Mul', [b.op('Sigmoid', [v]), b.scalar(high - low)]), b.scalar(low)]);
  const share = b.op('Clip', [wide, b.scalar(0), b.scalar(1)]);
  const integers = b.op('Add', [below, b.op('Mul', [share, room])]);
  const off = b.op('Sub', [b.op('Mul', [integers, scale]), exact]);
  const total = (value: Value) => b.op('ReduceSum', [value], { keepdims: 0 });
  // G is symmetric: D G D has the slope 2 G D, so that half of it need not be followed back, nor multiplied twice.
  const turned = b.op('MatMul', [gram, off]);
  const fixed = b.op('Mul', [off, turned]);
  const doubled = b.op('Mul', [b.op('Mul', [off, b.op('Add', [turned, cross])]), b.scalar(2)]);
  const squares = b.op('Sub', [total(doubled), total(fixed)]);
  const nowhere = new Map([turned, fixed].map((value) => [value, { of: exact }]));
  const undecided = b.op('Mul', [share, b.op('Sub', [b.scalar(1), share])]);
  const loss = b.op('Add', [b.op('Mul', [squares, unit]), b.op('Mul', [total(undecided), weight])]);
  const gradient = backward(graph, loss, [v], nowhere).get(v)!;
  const next = adamWUpdate(
    b,
    { parameter: v, gradient, state: { m, v: u }, decays: false, rate: 1 },
    { stepSize: stepSize!, epsilon: epsilon! },
    {},
  );
  const named = { 'next.v': next.parameter, 'next.m': next.state.m!, 'next.u': next.state.v!, loss };
  graph.outputs.push(...Object.entries(named).map(([name, value]) => b.op('Identity', [value], {}, name)));
  graph.removeDead();
  return graph;
}
