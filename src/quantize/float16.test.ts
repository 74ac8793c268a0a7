import { describe, expect, it } from 'vitest';
import { Builder } from '../graph/builder.ts';
import { checkGraph } from '../graph/check.ts';
import { Graph } from '../graph/graph.ts';
import { caseGraph, inOpsets } from '../graph/op-cases/case.ts';
import { opCases } from '../graph/op-cases/cases.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import { castTensors } from './cast.ts';
import { toFloat16 } from './float16.ts';
import { quantization } from './record.ts';

const noise = (count: number, seed = 1) =>
  Float32Array.from({ length: count }, (_, i) => (Math.sin((i + 1) * 12.9898 * seed) * 43758.5453) % 1);

/** A norm, a Linear, a softmax over its products, a Linear; `gain` scales what is between them. */
function attentionLike(gain = 1) {
  const graph = new Graph('small');
  const x = graph.addInput('x', 'float32', ['N', 5, 16]);
  const b = new Builder(graph);
  const constant = (name: string, shape: number[], seed: number) =>
    graph.addConstant(
      name,
      Tensor.float32(
        shape,
        noise(
          shape.reduce((p, d) => p * d),
          seed,
        ),
      ),
    );
  const linear = (input: ReturnType<typeof constant>, name: string, out: number, seed: number) => {
    const weight = constant(`${name}.weight`, [out, 16], seed);
    const product = b.op('MatMul', [input, b.op('Transpose', [weight], { perm: [1, 0] })]);
    return b.op('Add', [product, constant(`${name}.bias`, [out], seed + 1)]);
  };
  const normal = b.op('LayerNormalization', [
    x,
    constant('norm.weight', [16], 2),
    constant('norm.bias', [16], 3),
  ]);
  const q = linear(normal, 'q', 16, 4);
  const loud = b.op('Mul', [q, Tensor.scalar(gain)], {}, 'loud');
  const quiet = b.op('Mul', [loud, Tensor.scalar(1 / gain)], {}, 'quiet');
  const scores = b.op('Softmax', [b.op('MatMul', [quiet, b.op('Transpose', [q], { perm: [0, 2, 1] })])]);
  const mixed = b.op('Add', [b.op('MatMul', [scores, q]), x]);
  graph.outputs.push(b.op('Gelu', [linear(mixed, 'head', 8, 7)], {}, 'y'));
  return graph;
}

const x = Tensor.float32([2, 5, 16], noise(160, 5));
const distance = (a: Float32Array, b: Float32Array) =>
  Math.hypot(...a.map((v, i) => v - b[i]!)) / Math.hypot(...b);

describe('toFloat16', () => {
  it('computes in float16, norms and softmax in float32, with float32 inputs and outputs', async () => {
    const source = attentionLike();
    const graph = await toFloat16(onnxruntime, source);
    expect(checkGraph(graph)).toEqual([]);
    const dtypes = (op: string) => graph.nodes.filter((n) => n.op === op).map((n) => n.output().dtype);
    expect(new Set([...dtypes('MatMul'), ...dtypes('Gelu'), ...dtypes('Add')])).toEqual(new Set(['float16']));
    expect([...dtypes('LayerNormalization'), ...dtypes('Softmax')]).toEqual(['float32', 'float32']);
    expect(graph.constants.get('q.weight')!.dtype).toBe('float16');
    expect(graph.constants.get('norm.weight')!.dtype).toBe('float32');
    expect(graph.outputs[0]).toMatchObject({ name: 'y', dtype: 'float32' });
    expect(quantization(graph)).toEqual({ dtype: 'fp16', compute: 'float16' });
    const exact = (await runOnce(onnxruntime, source, { x })).y!;
    const got = (await runOnce(onnxruntime, graph, { x })).y!;
    expect(distance(got.floats, exact.floats)).toBeLessThan(1e-3);
  });

  it('takes and gives float16 when asked to', async () => {
    const graph = await toFloat16(onnxruntime, attentionLike(), { io: 'float16' });
    expect(checkGraph(graph)).toEqual([]);
    const [half] = await castTensors(onnxruntime, [x], 'float16');
    const { y } = await runOnce(onnxruntime, graph, { x: half! });
    const [got] = await castTensors(onnxruntime, [y!], 'float32');
    const exact = (await runOnce(onnxruntime, attentionLike(), { x })).y!;
    expect(distance(got!.floats, exact.floats)).toBeLessThan(2e-3);
  });

  it('keeps in float32 what overflows on the calibration inputs', async () => {
    const source = attentionLike(6e4);
    const exact = (await runOnce(onnxruntime, source, { x })).y!;
    expect((await toFloat16(onnxruntime, source)).find('loud')!.dtype).toBe('float16');
    const graph = await toFloat16(onnxruntime, source, { calibration: [{ x }] });
    expect(graph.find('loud')!.dtype).toBe('float32');
    const got = (await runOnce(onnxruntime, graph, { x })).y!;
    expect(distance(got.floats, exact.floats)).toBeLessThan(1e-3);
  });

  it('can store weights in half the space and compute as before', async () => {
    const source = attentionLike();
    const graph = await toFloat16(onnxruntime, source, { compute: 'float32' });
    expect(checkGraph(graph)).toEqual([]);
    expect(graph.constants.get('q.weight')!.dtype).toBe('float16');
    expect(graph.nodes.find((n) => n.op === 'MatMul')!.output().dtype).toBe('float32');
    const exact = (await runOnce(onnxruntime, source, { x })).y!;
    const got = (await runOnce(onnxruntime, graph, { x })).y!;
    expect(distance(got.floats, exact.floats)).toBeLessThan(1e-3);
  });

  it('leaves If and LSTM in float32, and gives their branches what they read in float32', async () => {
    const source = new Graph('control');
    const images = source.addInput('x', 'float32', ['N', 5, 16]);
    const b = new Builder(source);
    const weight = source.addConstant('weight', Tensor.float32([16, 16], noise(256, 2)));
    const hidden = b.op('MatMul', [images, weight], {}, 'hidden');
    const large = b.op('Greater', [b.op('ReduceSum', [images], { keepdims: 0 }), Tensor.scalar(1e6)]);
    const branch = (op: string) => {
      const inner = new Graph(op, source);
      inner.outputs.push(new Builder(inner).op(op, [hidden, hidden], {}, `${op}_taken`));
      return { kind: 'graph' as const, value: inner };
    };
    const chosen = source.addNode({
      opType: 'If',
      inputs: [large],
      outputs: ['chosen'],
      attributes: { then_branch: branch('Mul'), else_branch: branch('Add') },
    });
    Object.assign(chosen.output(), { dtype: 'float32', shape: ['N', 5, 16] });
    const gates = [Tensor.float32([1, 16, 16], noise(256, 3)), Tensor.float32([1, 16, 4], noise(64, 4))];
    const read = source.addNode({
      opType: 'LSTM',
      inputs: [
        b.op('Transpose', [chosen.output()], { perm: [1, 0, 2] }),
        ...gates.map((gate) => b.constant(gate)),
      ],
      outputs: ['read'],
      attributes: { hidden_size: 4 },
    });
    Object.assign(read.output(), { dtype: 'float32', shape: [5, 1, 'N', 4] });
    source.outputs.push(b.op('Mul', [read.output(), Tensor.scalar(2)], {}, 'y'));
    expect(checkGraph(source)).toEqual([]);
    const graph = await toFloat16(onnxruntime, source);
    expect(graph.find('hidden')!.dtype).toBe('float16');
    expect([graph.find('chosen')!.dtype, graph.find('read')!.dtype]).toEqual(['float32', 'float32']);
    const exact = (await runOnce(onnxruntime, source, { x })).y!;
    const got = (await runOnce(onnxruntime, graph, { x })).y!;
    expect(distance(got.floats, exact.floats)).toBeLessThan(2e-3);
  });

  it('refuses what contradicts itself', async () => {
    const graph = await toFloat16(onnxruntime, attentionLike());
    await expect(toFloat16(onnxruntime, graph)).rejects.toThrow(/already quantized \(fp16\)/);
    const both = toFloat16(onnxruntime, attentionLike(), { compute: 'float32', io: 'float16' });
    await expect(both).rejects.toThrow(/only weights become float16/);
  });

  it.each(inOpsets(opCases))(
    'makes of $op in operator set $opset what the engine loads, if it loads it at all',
    async ({ one, opset }) => {
      const { graph } = caseGraph(one, opset);
      const load = async (model: Graph) => (await onnxruntime.load(model)).dispose();
      const loads = await load(graph).then(
        () => true,
        () => false,
      );
      const quantized = graph.nodes.some(({ op }) => /quantize|Integer|QLinear|NBits/i.test(op));
      if (!loads || quantized) return;
      await load(await toFloat16(onnxruntime, graph));
    },
  );
});
