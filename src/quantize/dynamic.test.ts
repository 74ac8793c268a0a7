import { describe, expect, it } from 'vitest';
import { UserError } from '../common/errors.ts';
import { Random } from '../common/random.ts';
import { Builder } from '../graph/builder.ts';
import { checkGraph } from '../graph/check.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import { type BackendName, backends, numbersOf, weightKinds } from './backends.ts';
import { quantizeDynamic } from './dynamic.ts';
import { quantizedLayers } from './match-quantized.ts';
import { quantization } from './record.ts';
import { pairBound } from './weight-pairs.ts';
import { WeightQuantizer } from './weight-quantizer.ts';
import type { WeightRounding } from './weight-rounding.ts';

/** Numbers in (-1, 1) that look random and are the same each time. */
const noise = (count: number, seed = 1) =>
  Float32Array.from({ length: count }, (_, i) => ((Math.sin((i + 1) * 12.9898 * seed) * 43758.5453) % 1) * 1);

/** Two Linears with a GELU between; the last weight lies as [in, out] and has no bias. */
function mlp() {
  const graph = new Graph('mlp');
  const x = graph.addInput('x', 'float32', ['N', 5, 16]);
  const b = new Builder(graph);
  const fc1 = graph.addConstant('fc1.weight', Tensor.float32([32, 16], noise(512)));
  const bias = graph.addConstant('fc1.bias', Tensor.float32([32], noise(32, 2)));
  const fc2 = graph.addConstant('fc2.weight', Tensor.float32([32, 8], noise(256, 3)));
  const hidden = b.op('Add', [b.op('MatMul', [x, b.op('Transpose', [fc1], { perm: [1, 0] })]), bias]);
  graph.outputs.push(b.op('MatMul', [b.op('Gelu', [hidden]), fc2], {}, 'y'));
  return graph;
}

const feeds = { x: Tensor.float32([2, 5, 16], noise(160, 5)) };

/** PyTorch's recipe, written out. */
function reference(row: readonly number[]) {
  const largest = Math.max(...row.map(Math.abs));
  const scale = Math.max(Math.fround(largest / 127.5), 2 ** -23);
  const inverse = Math.fround(1 / scale);
  const roundHalfEven = (v: number) => {
    const floor = Math.floor(v);
    const rest = v - floor;
    return rest < 0.5 || (rest === 0.5 && floor % 2 === 0) ? floor : floor + 1;
  };
  const values = row.map((w) =>
    Math.min(127, Math.max(-128, roundHalfEven(Math.fround(Math.fround(w) * inverse)))),
  );
  return { scale, values };
}

/** The rows of an `[out, in]` weight, quantized. */
const quantized = async (rows: number[][], rounding: WeightRounding) => {
  const weight = new Graph().addConstant(
    'w',
    Tensor.float32([rows.length, rows[0]!.length], new Float32Array(rows.flat())),
  );
  const quantizer = new WeightQuantizer(onnxruntime);
  const result = await quantizer.quantize({ weight, layout: 'out,in' }, rounding);
  await quantizer.dispose();
  return result;
};

const plain = { granularity: 'channel', bounded: false } as const;
const wholeMatrix = { granularity: 'tensor', bounded: false } as const;

describe('WeightQuantizer', () => {
  const rows = [
    [0.1, -0.7, 0.33, 1.275],
    [0, 0, 0, 0],
    [-3, 2.5, 0.011764706, -1.5],
    [0.5 * 2 ** -20, 2 ** -20, -(2 ** -20), 0],
  ].map((row) => row.map(Math.fround));

  it('has a scale for each output channel, as PyTorch computes it', async () => {
    const { values, scale } = await quantized(rows, plain);
    const expected = rows.map(reference);
    expect(values.shape).toEqual([4, 4]);
    expect(Array.from(scale.floats)).toEqual(expected.map((row) => row.scale));
    const columns = expected.map((_, i) => expected.map((row) => row.values[i]! + 0));
    expect(Array.from(values.data as Int8Array)).toEqual(columns.flat());
  });

  it('multiplies by the inverse scale, which decides whether the largest weight becomes -128', async () => {
    const many = Array.from({ length: 200 }, (_, row) => [...noise(6, row + 1)]);
    const { values } = await quantized(many, plain);
    const expected = many.map(reference);
    const columns = expected[0]!.values.map((_, i) => expected.map((row) => row.values[i]! + 0));
    expect(Array.from(values.data as Int8Array)).toEqual(columns.flat());
  });

  it('has one scale for the whole matrix when asked', async () => {
    const { values, scale } = await quantized(rows, wholeMatrix);
    const expected = reference(rows.flat());
    expect(scale.shape).toEqual([]);
    expect(scale.floats[0]).toBe(expected.scale);
    expect(Array.from(values.data as Int8Array).sort()).toEqual(expected.values.map((v) => v + 0).sort());
  });

  it('refuses weights that are no numbers', async () => {
    await expect(quantized([[1, Number.NaN]], plain)).rejects.toThrow(/weight w .* not a number/);
  });

  it('says what rounding changed, and what plain rounding of each channel would', async () => {
    const many = Array.from({ length: 7 }, (_, row) => [...noise(10, row + 1)].map((w) => w * (row + 1)));
    const norm = (values: number[]) => values.reduce((sum, v) => sum + v * v, 0);
    const weights = many.flat();
    const plainly = many.flatMap((row) => {
      const { scale, values } = reference(row);
      return values.map((q, i) => q * scale - row[i]!);
    });
    for (const rounding of [plain, wholeMatrix]) {
      const { values, scale, squares } = await quantized(many, rounding);
      const q = values.data as Int8Array;
      const error = many.flatMap((row, o) =>
        row.map((w, i) => q[i * many.length + o]! * (scale.floats[o] ?? scale.floats[0]!) - w),
      );
      expect(squares.weight).toBeCloseTo(norm(weights), 3);
      expect(squares.error / norm(error)).toBeCloseTo(1, 3);
      expect(squares.plainError / norm(plainly)).toBeCloseTo(1, 3);
    }
  });
});

/** Largest sum of two neighbours of equal sign along the reduced axis, of `[in, out]` int8 weights. */
function largestPair(values: Tensor): number {
  const [rows, columns] = values.shape as [number, number];
  const q = values.data as Int8Array;
  let largest = 0;
  for (let row = 0; row + 1 < rows; row += 2) {
    for (let column = 0; column < columns; column++) {
      const [a, b] = [q[row * columns + column]!, q[(row + 1) * columns + column]!];
      if (a * b > 0) largest = Math.max(largest, Math.abs(a + b));
    }
  }
  return largest;
}

describe('weights that cannot overflow', () => {
  const safe = { granularity: 'channel', bounded: true } as const;
  const random = new Random(7);
  const normal = (rows: number, columns: number) =>
    Array.from({ length: rows }, () => Array.from({ length: columns }, () => random.normal()));
  const cases: Record<string, number[][]> = {
    normal: normal(40, 96),
    'an odd number of rows': normal(9, 33),
    'one row': normal(6, 1),
    'heavy tails': normal(30, 64).map((row) => row.map((w) => w ** 5)),
    'all pairs at the limit': Array.from({ length: 5 }, (_, i) => new Array(12).fill(i % 2 ? 1 : -1)),
    'halves, rounded away from zero in both': [[63.5, 64.5, 127, -127, -63.5, -64.5].map((w) => w / 128)],
    zeros: [[0, 0, 0, 0]],
    tiny: [[2 ** -140, 2 ** -140, 0, -(2 ** -130)]],
  };

  it.each(Object.keys(cases))('%s', async (name) => {
    const rows = cases[name]!;
    const { values, scale } = await quantized(rows, safe);
    expect(largestPair(values)).toBeLessThanOrEqual(pairBound);
    const q = values.data as Int8Array;
    rows.forEach((row, o) => {
      const unit = scale.floats[o]!;
      // No coarser than two weights as large as the largest ask for.
      const reach = Math.max(...row.map(Math.abs));
      expect(unit).toBeLessThanOrEqual(Math.max(2 ** -23, (2.001 * reach) / pairBound));
      row.forEach((w, i) => {
        expect(Math.abs(q[i * rows.length + o]! - w / unit)).toBeLessThanOrEqual(1.001);
      });
    });
  });

  it('cost less than 7 bits of weights would', async () => {
    const { squares } = await quantized(normal(64, 256), safe);
    const ratio = Math.sqrt(squares.error / squares.plainError);
    expect(ratio).toBeGreaterThan(1);
    expect(ratio).toBeLessThan(1.5);
  });
});

describe('quantizeDynamic', () => {
  const choices = (Object.keys(backends) as BackendName[]).flatMap((backend) =>
    weightKinds.map((weights) => ({ backend, weights })),
  );

  it.each(choices)('$backend with $weights weights stays close to float32', async ({ backend, weights }) => {
    const source = mlp();
    const graph = await quantizeDynamic(onnxruntime, source, { backend, weights });
    expect(checkGraph(graph)).toEqual([]);
    const { reduceRange } = numbersOf({ backend, weights });
    const product = `com.microsoft.${reduceRange ? 'MatMulIntegerToFloat' : 'DynamicQuantizeMatMul'}`;
    expect(quantizedLayers(graph).map((layer) => [layer.product.op, layer.weight.name])).toEqual([
      [product, 'fc1.weight'],
      [product, 'fc2.weight'],
    ]);
    if (weights === 'safe') {
      for (const { weight } of quantizedLayers(graph)) {
        expect(largestPair(weight.tensor!)).toBeLessThanOrEqual(pairBound);
      }
    }
    const exact = (await runOnce(onnxruntime, source, feeds)).y!.floats;
    const got = (await runOnce(onnxruntime, graph, feeds)).y!.floats;
    const distance = Math.hypot(...got.map((v, i) => v - exact[i]!)) / Math.hypot(...exact);
    // PyTorch's numbers may overflow on this processor; the next test compares them with exact sums.
    if (weights === 'safe') expect(distance).toBeLessThan(0.025);
    expect(distance).toBeGreaterThan(0);
    expect(quantization(graph)).toEqual({
      dtype: 'int8',
      scheme: 'dynamic',
      backend,
      weights,
      assumeVnni: false,
      reduceRange,
      weightError: { relative: expect.any(Number), plain: expect.any(Number) },
      ignored: [],
    });
  });

  it('keeps the names of weights and outputs, and leaves the source as it was', async () => {
    const source = mlp();
    const graph = await quantizeDynamic(onnxruntime, source);
    expect(graph.constants.get('fc1.weight')).toMatchObject({ dtype: 'int8', shape: [16, 32] });
    expect(graph.constants.get('fc2.weight')).toMatchObject({ dtype: 'int8', shape: [32, 8] });
    expect(graph.outputs[0]!.name).toBe('y');
    expect(source.constants.get('fc1.weight')!.dtype).toBe('float32');
    expect(source.nodes).toHaveLength(5);
  });

  it('quantizes a weight that is used both ways along both axes', async () => {
    const source = new Graph('tied');
    const x = source.addInput('x', 'float32', ['N', 5, 16]);
    const b = new Builder(source);
    const tied = source.addConstant('tied.weight', Tensor.float32([16, 16], noise(256)));
    const there = b.op('MatMul', [x, tied]);
    const turned = b.op('Transpose', [tied], { perm: [1, 0] });
    source.outputs.push(b.op('MatMul', [b.op('Gelu', [there]), turned], {}, 'y'));
    const graph = await quantizeDynamic(onnxruntime, source);
    const exact = (await runOnce(onnxruntime, source, feeds)).y!.floats;
    const got = (await runOnce(onnxruntime, graph, feeds)).y!.floats;
    const distance = Math.hypot(...got.map((v, i) => v - exact[i]!)) / Math.hypot(...exact);
    expect(distance).toBeLessThan(0.02);
  });

  it('drops the input that a replaced weight was the default of', async () => {
    const source = mlp();
    const weight = source.constants.get('fc2.weight')!;
    source.inputs.push(weight);
    const graph = await quantizeDynamic(onnxruntime, source);
    expect(graph.inputs.map(({ name }) => name)).toEqual(['x']);
    expect(checkGraph(graph)).toEqual([]);
    await runOnce(onnxruntime, graph, feeds);
  });

  it('leaves ignored weights in float32', async () => {
    const graph = await quantizeDynamic(onnxruntime, mlp(), { ignore: ['fc2.*'] });
    expect(graph.constants.get('fc2.weight')!.dtype).toBe('float32');
    expect(graph.constants.get('fc1.weight')!.dtype).toBe('int8');
    expect(quantization(graph)!.ignored).toEqual(['fc2.weight']);
  });

  it('refuses what it can not do, in one line', async () => {
    const graph = await quantizeDynamic(onnxruntime, mlp());
    await expect(quantizeDynamic(onnxruntime, graph)).rejects.toThrow(/already quantized \(int8\)/);
    await expect(quantizeDynamic(onnxruntime, mlp(), { ignore: ['*'] })).rejects.toThrow(UserError);
    await expect(quantizeDynamic(onnxruntime, mlp(), { ignore: ['fc3.*'] })).rejects.toThrow(
      /ignore: no tensor of the model matches "fc3\.\*"; did you mean fc1\.\*/,
    );
    const unknown = quantizeDynamic(onnxruntime, mlp(), { backend: 'gemmlowp' as BackendName });
    await expect(unknown).rejects.toThrow(/"gemmlowp".*mlas, x86, fbgemm, onednn, qnnpack/);
  });
});
