import { describe, expect, it } from 'vitest';
import { UserError } from '../common/errors.ts';
import { Builder } from '../graph/builder.ts';
import { checkGraph } from '../graph/check.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import { type BackendName, backends } from './backends.ts';
import { quantizeDynamic } from './dynamic.ts';
import { quantization } from './record.ts';
import { WeightQuantizer } from './weights.ts';

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

const quantized = async (rows: number[][], backend: BackendName) => {
  const weight = new Graph().addConstant(
    'w',
    Tensor.float32([rows.length, rows[0]!.length], new Float32Array(rows.flat())),
  );
  const quantizer = new WeightQuantizer(onnxruntime, backends[backend].weights);
  const result = await quantizer.quantize({ weight, layout: 'out,in' });
  await quantizer.dispose();
  return result;
};

describe('WeightQuantizer', () => {
  const rows = [
    [0.1, -0.7, 0.33, 1.275],
    [0, 0, 0, 0],
    [-3, 2.5, 0.011764706, -1.5],
    [0.5 * 2 ** -20, 2 ** -20, -(2 ** -20), 0],
  ].map((row) => row.map(Math.fround));

  it('has a scale for each output channel, as PyTorch computes it', async () => {
    const { values, scale } = await quantized(rows, 'mlas');
    const expected = rows.map(reference);
    expect(values.shape).toEqual([4, 4]);
    expect(Array.from(scale.floats)).toEqual(expected.map((row) => row.scale));
    const columns = expected.map((_, i) => expected.map((row) => row.values[i]! + 0));
    expect(Array.from(values.data as Int8Array)).toEqual(columns.flat());
  });

  it('multiplies by the inverse scale, which decides whether the largest weight becomes -128', async () => {
    const many = Array.from({ length: 200 }, (_, row) => [...noise(6, row + 1)]);
    const { values } = await quantized(many, 'mlas');
    const expected = many.map(reference);
    const columns = expected[0]!.values.map((_, i) => expected.map((row) => row.values[i]! + 0));
    expect(Array.from(values.data as Int8Array)).toEqual(columns.flat());
  });

  it('has one scale for the whole matrix under qnnpack', async () => {
    const { values, scale } = await quantized(rows, 'qnnpack');
    const expected = reference(rows.flat());
    expect(scale.shape).toEqual([]);
    expect(scale.floats[0]).toBe(expected.scale);
    expect(Array.from(values.data as Int8Array).sort()).toEqual(expected.values.map((v) => v + 0).sort());
  });

  it('refuses weights that are no numbers', async () => {
    await expect(quantized([[1, Number.NaN]], 'mlas')).rejects.toThrow(/weight w .* not a number/);
  });
});

describe('quantizeDynamic', () => {
  it.each(Object.keys(backends) as BackendName[])('%s stays close to float32', async (backend) => {
    const source = mlp();
    const graph = await quantizeDynamic(onnxruntime, source, { backend });
    expect(checkGraph(graph)).toEqual([]);
    expect(graph.nodes.map((node) => node.op)).toEqual([
      'com.microsoft.DynamicQuantizeMatMul',
      'Gelu',
      'com.microsoft.DynamicQuantizeMatMul',
    ]);
    const exact = (await runOnce(onnxruntime, source, feeds)).y!.floats;
    const got = (await runOnce(onnxruntime, graph, feeds)).y!.floats;
    const distance = Math.hypot(...got.map((v, i) => v - exact[i]!)) / Math.hypot(...exact);
    expect(distance).toBeLessThan(0.02);
    expect(distance).toBeGreaterThan(0);
    expect(quantization(graph)).toEqual({
      dtype: 'int8',
      scheme: 'dynamic',
      backend,
      reduceRange: backends[backend].reduceRange,
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
    const unknown = quantizeDynamic(onnxruntime, mlp(), { backend: 'gemmlowp' as BackendName });
    await expect(unknown).rejects.toThrow(/"gemmlowp".*mlas, x86, fbgemm, onednn, qnnpack/);
  });
});
