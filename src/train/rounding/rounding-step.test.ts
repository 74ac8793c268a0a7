import { expect, it } from 'vitest';
import { Random } from '../../common/random.ts';
import { Tensor } from '../../graph/tensor.ts';
import { onnxruntime } from '../../runtime/onnxruntime.node.ts';
import { runOnce } from '../../runtime/session.ts';
import { roundingStep } from './rounding-step.ts';

const [inputs, outputs, rows] = [5, 3, 20];
const random = new Random(7);
const normal = (count: number) => Array.from({ length: count }, () => Math.fround(random.normal()));
const [v, exact] = [normal(inputs * outputs), normal(inputs * outputs)];
const scale = [0.3, 0.2, 0.4].map(Math.fround);
const below = exact.map((w, i) => Math.floor(w / scale[i % outputs]!));
/** One number lies on the grid, and stays. */
const room = below.map((_, i) => (i === 4 ? 0 : 1));
const [y, x] = [normal(rows * inputs), normal(rows * inputs)];
const [unit, weight] = [2, 0.5];
const rate = { stepSize: 0.01, epsilon: 1e-6 };

/** `y^T z`, `[inputs, inputs]`. */
const gram = (z: number[]) =>
  Array.from({ length: inputs * inputs }, (_, at) => {
    const [i, j] = [Math.floor(at / inputs), at % inputs];
    return Array.from({ length: rows }, (_, r) => y[r * inputs + i]! * z[r * inputs + j]!).reduce(
      (a, b) => a + b,
    );
  });
const G = gram(y);
const off = gram(y.map((value, i) => value - x[i]!));
const C = Array.from({ length: inputs * outputs }, (_, at) => {
  const [i, o] = [Math.floor(at / outputs), at % outputs];
  return Array.from({ length: inputs }, (_, k) => off[i * inputs + k]! * exact[k * outputs + o]!).reduce(
    (a, b) => a + b,
  );
});

/** The loss as it is meant, row by row: what the outputs are off, without what no rounding changes. */
function lossAt(values: readonly number[]): number {
  const share = values.map((value) => Math.min(1, Math.max(0, 1.2 / (1 + Math.exp(-value)) - 0.1)));
  const rounded = share.map((h, i) => (below[i]! + h * room[i]!) * scale[i % outputs]!);
  let sum = 0;
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < outputs; o++) {
      let [given, constant] = [0, 0];
      for (let i = 0; i < inputs; i++) {
        const [read, should] = [y[r * inputs + i]!, x[r * inputs + i]!];
        const w = exact[i * outputs + o]!;
        given += read * rounded[i * outputs + o]! - should * w;
        constant += (read - should) * w;
      }
      sum += given ** 2 - constant ** 2;
    }
  }
  return unit * sum + weight * share.reduce((all, h) => all + h * (1 - h), 0);
}

it('has the loss of the outputs, its gradient, and the step of Adam', async () => {
  const matrix = (values: readonly number[], shape = [inputs, outputs]) => Tensor.float32(shape, values);
  const zeros = matrix(new Array(inputs * outputs).fill(0));
  const found = await runOnce(onnxruntime, roundingStep(inputs, outputs, [1, outputs]), {
    ...{ v: matrix(v), m: zeros, u: zeros, below: matrix(below), room: matrix(room), exact: matrix(exact) },
    ...{ scale: matrix(scale, [1, outputs]), G: matrix(G, [inputs, inputs]), C: matrix(C) },
    ...{ unit: Tensor.scalar(unit), weight: Tensor.scalar(weight) },
    ...{ stepSize: Tensor.scalar(rate.stepSize), epsilon: Tensor.scalar(rate.epsilon) },
  });
  expect(found.loss!.floats[0]! / lossAt(v)).toBeCloseTo(1, 5);
  const slope = v.map((_, i) => {
    const moved = (by: number) => lossAt(v.map((value, k) => (k === i ? value + by : value)));
    return (moved(1e-5) - moved(-1e-5)) / 2e-5;
  });
  expect(Math.max(...slope.map(Math.abs))).toBeGreaterThan(1);
  slope.forEach((wanted, i) => {
    expect(Math.abs(found['next.m']!.floats[i]! - wanted)).toBeLessThan(2e-5 * Math.max(1, Math.abs(wanted)));
    const step = (rate.stepSize * wanted) / (Math.abs(wanted) + rate.epsilon);
    expect(found['next.v']!.floats[i]!).toBeCloseTo(v[i]! - step, 4);
  });
});
