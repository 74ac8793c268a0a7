import { describe, expect, it } from 'vitest';
import { Builder } from '../graph/builder.ts';
import { checkGraph } from '../graph/check.ts';
import { Graph, type Value } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import { takePixelInput } from './pixel-input.ts';

const mean = [0.485, 0.456, 0.406];
const std = [0.229, 0.224, 0.225];
const [rows, columns] = [4, 5];
const raw = Uint8Array.from({ length: 2 * rows * columns * 3 }, (_, i) => (i * 89) % 256);
const each = (values: readonly number[], shape: number[], factor = 1) =>
  Tensor.float32(
    shape,
    values.map((value) => value * factor),
  );
const first = [3, 1, 1];

/** A convolution behind what `prepare` does to `[N, H, W, 3]` or `[N, 3, H, W]`. */
function behind(dtype: 'uint8' | 'float32', last: boolean, prepare: (b: Builder, x: Value) => Value): Graph {
  const graph = new Graph('pixels');
  const b = new Builder(graph);
  const x = graph.addInput('image', dtype, last ? ['N', rows, columns, 3] : ['N', 3, rows, columns]);
  const weight = Tensor.float32(
    [2, 3, 2, 2],
    Float32Array.from({ length: 24 }, (_, i) => Math.sin(i)),
  );
  graph.outputs.push(b.op('Conv', [prepare(b, x), graph.addConstant('w', weight)], {}, 'y'));
  return graph;
}

const turned = (b: Builder, x: Value) => b.op('Transpose', [x], { perm: [0, 3, 1, 2] });
const floats = (b: Builder, x: Value) => b.op('Cast', [x], { to: 1 });

const cases: Record<string, Graph> = {
  'bytes, channels last, mean and deviation in tens': behind('uint8', true, (b, x) =>
    b.op('Div', [b.op('Sub', [turned(b, floats(b, x)), each(mean, first, 255)]), each(std, first, 255)]),
  ),
  'bytes, divided by 255 before the turn': behind('uint8', true, (b, x) => {
    const unit = b.op('Div', [floats(b, x), b.scalar(255)]);
    return turned(b, b.op('Div', [b.op('Sub', [unit, each(mean, [3])]), each(std, [3])]));
  }),
  'floats of 0 to 1, as products and sums': behind('float32', false, (b, x) => {
    const scaled = b.op('Mul', [
      x,
      each(
        std.map((value) => 1 / value),
        [1, ...first],
      ),
    ]);
    return b.op('Add', [
      scaled,
      each(
        mean.map((value, c) => -value / std[c]!),
        [1, ...first],
      ),
    ]);
  }),
  'floats of 0 to 255, channels last': behind('float32', true, (b, x) => {
    const turnedFloats = turned(b, x);
    return b.op('Div', [b.op('Sub', [turnedFloats, each(mean, first, 255)]), each(std, first, 255)]);
  }),
};

/** The same images as a graph takes them, and prepared. */
function images(graph: Graph): { given: Tensor; prepared: Tensor } {
  const [{ dtype, shape }] = graph.inputs as [Value];
  const last = shape![3] === 3;
  const unit = !/255|bytes/.test(graph.name);
  const data = new Float32Array(raw.length);
  const prepared = new Float32Array(raw.length);
  for (let n = 0; n < 2; n++) {
    for (let p = 0; p < rows * columns; p++) {
      for (let c = 0; c < 3; c++) {
        const byte = raw[(n * rows * columns + p) * 3 + c]!;
        const [hwc, chw] = [(n * rows * columns + p) * 3 + c, (n * 3 + c) * rows * columns + p];
        data[last ? hwc : chw] = unit ? byte / 255 : byte;
        prepared[chw] = (byte / 255 - mean[c]!) / std[c]!;
      }
    }
  }
  const dims = shape!.map((dim) => (dim === 'N' ? 2 : (dim as number)));
  const given =
    dtype === 'uint8' ? new Tensor('uint8', dims, Uint8Array.from(data)) : Tensor.float32(dims, data);
  return { given, prepared: Tensor.float32([2, 3, rows, columns], prepared) };
}

describe('what a graph does to its pixels is taken out of it', () => {
  it.each(Object.entries(cases))('%s', async (name, graph) => {
    graph.name = name;
    const { given, prepared } = images(graph);
    const before = await runOnce(onnxruntime, graph, { image: given });
    const taken = takePixelInput(graph);
    expect(taken?.took).toMatch(name.startsWith('bytes') ? /^uint8 \[N, 4, 5, 3\]/ : /^float32 \[/);
    for (const [c, value] of mean.entries()) {
      expect(taken!.normalization!.mean[c]).toBeCloseTo(value, 5);
      expect(taken!.normalization!.std[c]).toBeCloseTo(std[c]!, 5);
    }
    expect(checkGraph(graph)).toEqual([]);
    expect(graph.inputs.map((input) => [input.name, input.dtype, input.shape])).toEqual([
      ['image', 'float32', ['N', 3, rows, columns]],
    ]);
    const after = await runOnce(onnxruntime, graph, { image: prepared });
    for (const [i, value] of before.y!.floats.entries()) expect(after.y!.floats[i]).toBeCloseTo(value, 4);
  });

  it('leaves a graph alone that takes prepared images, or does something else to them', () => {
    const plain = behind('float32', false, (_, x) => x);
    const other = behind('float32', false, (b, x) => b.op('Sqrt', [x]));
    const negative = behind('float32', false, (b, x) => b.op('Neg', [x]));
    for (const graph of [plain, other, negative]) {
      const nodes = graph.nodes.length;
      expect(takePixelInput(graph)).toBeUndefined();
      expect(graph.nodes).toHaveLength(nodes);
    }
  });

  it('does not make up a normalization where channels are only turned', () => {
    const graph = behind('float32', true, turned);
    expect(takePixelInput(graph)).toEqual({ took: 'float32 [N, 4, 5, 3]' });
    expect(graph.nodes).toHaveLength(1);
  });
});
