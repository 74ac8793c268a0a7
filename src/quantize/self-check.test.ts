import { describe, expect, it } from 'vitest';
import { Builder } from '../graph/builder.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { quantizeDynamic } from './dynamic.ts';
import { toFloat16 } from './float16.ts';
import { layerErrors } from './layer-errors.ts';
import { quantization } from './record.ts';
import { selfCheck } from './self-check.ts';

const width = 32;

const numbers = (rows: number, columns: number, phase: number) =>
  Tensor.float32(
    [rows, columns],
    Float32Array.from(
      { length: rows * columns },
      (_, i) => Math.sin(1.7 * i * i + phase) / Math.sqrt(columns),
    ),
  );

/** Norm, Linear, Linear. @param outlier what the first channel of the norm is scaled by @param undone in the next weight */
function network({ outlier = 1, undone = false } = {}): Graph {
  const graph = new Graph('network');
  graph.opsets.set('', 20);
  const b = new Builder(graph);
  const x = graph.addInput('x', 'float32', ['N', 5, width]);
  const ones = new Float32Array(width).fill(1);
  ones[0] = outlier;
  const scale = graph.addConstant('norm.weight', Tensor.float32([width], ones));
  const bias = graph.addConstant('norm.bias', Tensor.float32([width], new Float32Array(width)));
  const normed = b.op('LayerNormalization', [x, scale, bias]);
  const first = numbers(width, width, 1);
  if (undone) for (let i = 0; i < width; i++) first.floats[i]! /= outlier;
  const hidden = b.op('MatMul', [normed, graph.addConstant('first.weight', first)]);
  graph.outputs.push(b.op('MatMul', [hidden, graph.addConstant('second.weight', numbers(width, 7, 2))]));
  return graph;
}

async function checked(source: Graph, quantized = quantizeDynamic(onnxruntime, source)) {
  const graph = await quantized;
  return selfCheck(onnxruntime, source, graph, quantization(graph)!);
}

describe('what int8 does to each layer', () => {
  it('is what the arithmetic of one layer says', async () => {
    const source = network();
    const quantized = await quantizeDynamic(onnxruntime, source);
    const x = Tensor.float32([1, 5, width], numbers(5, width, 3).floats);
    const { layers } = await layerErrors(onnxruntime, source, quantized, quantization(quantized)!, { x });
    // The first layer by hand, in float64.
    const rows = Array.from({ length: 5 }, (_, r) => x.floats.subarray(r * width, (r + 1) * width));
    const normed = rows.flatMap((row) => {
      const mean = row.reduce((a, c) => a + c, 0) / width;
      const variance = row.reduce((a, c) => a + (c - mean) ** 2, 0) / width;
      return Array.from(row, (value) => (value - mean) / Math.sqrt(variance + 1e-5));
    });
    const [low, high] = [Math.min(0, ...normed), Math.max(0, ...normed)];
    const step = (high - low) / 255;
    const zero = Math.round(-low / step);
    const read = normed.map(
      (value) => (Math.min(255, Math.max(0, Math.round(value / step) + zero)) - zero) * step,
    );
    const weight = source.constants.get('first.weight')!.tensor!.floats;
    const { values, scale } = {
      values: quantized.constants.get('first.weight')!.tensor!.data as Int8Array,
      scale: quantized.constants.get('first.weight_scale')!.tensor!.floats,
    };
    let [off, all] = [0, 0];
    for (let r = 0; r < 5; r++) {
      for (let o = 0; o < width; o++) {
        let [exact, rounded] = [0, 0];
        for (let i = 0; i < width; i++) {
          exact += normed[r * width + i]! * weight[i * width + o]!;
          rounded += read[r * width + i]! * values[i * width + o]! * scale[o]!;
        }
        off += (rounded - exact) ** 2;
        all += exact ** 2;
      }
    }
    expect(layers.map(({ name }) => name)).toEqual(['first.weight', 'second.weight']);
    expect(layers[0]!.error).toBeCloseTo(Math.sqrt(off / all), 4);
    const sizes = Array.from({ length: width }, (_, c) =>
      Math.max(...Array.from({ length: 5 }, (_, r) => Math.abs(normed[r * width + c]!))),
    );
    expect(layers[0]!.channel).toBe(sizes.indexOf(Math.max(...sizes)));
    expect(layers[0]!.median).toBeCloseTo(sizes.sort((a, b) => b - a)[width / 2 - 1]!, 4);
  });
});

describe('a quantized model, on noise', () => {
  it('is near its source', async () => {
    const { relative, warnings, collapsed } = await checked(network());
    expect(relative).toBeLessThan(0.03);
    expect(relative).toBeGreaterThan(0.001);
    expect({ warnings, collapsed }).toEqual({ warnings: [], collapsed: undefined });
  });

  it('has an outlier, which is named', async () => {
    const { warnings, collapsed } = await checked(network({ outlier: 60, undone: true }));
    expect(collapsed).toBeUndefined();
    expect(warnings.join('\n')).toMatch(/outputs of first\.weight by .* channel 0 of its inputs reaches/);
    expect(warnings[0]).toMatch(/^on noise the outputs are \d+ % from float32's$/);
  });

  it('has nothing left beside it', async () => {
    const { collapsed } = await checked(network({ outlier: 1000, undone: true }));
    expect(collapsed).toMatch(/first\.weight by \d+ %: channel 0 .* 9\d % of what it reads becomes 0/);
  });

  it('overflows in float16, from a layer on', async () => {
    const source = network();
    const last = source.constants.get('second.weight')!;
    source.setConstant(
      last,
      Tensor.float32(
        last.staticShape,
        last.tensor!.floats.map((value) => 6e4 * value),
      ),
    );
    const { relative, collapsed } = await checked(source, toFloat16(onnxruntime, source, { io: 'float16' }));
    expect(relative).toBe(Number.POSITIVE_INFINITY);
    expect(collapsed).toBe(
      "on noise the outputs are infinitely far from float32's; second.weight is the first layer that gives something else",
    );
  });

  it('is compared in float16 too', async () => {
    const source = network();
    const { relative } = await checked(source, toFloat16(onnxruntime, source, { io: 'float16' }));
    expect(relative).toBeLessThan(0.002);
    expect(relative).toBeGreaterThan(0);
  });

  it('may be most of what it was', async () => {
    const source = network();
    const { warnings } = await checked(
      source,
      quantizeDynamic(onnxruntime, source, { ignore: ['first.weight'] }),
    );
    expect(warnings).toEqual([
      expect.stringMatching(/^8\d % of the weights stay in float32: most of the model/),
    ]);
  });

  it('can not be compared where the input is no image', async () => {
    const source = new Graph('ids');
    const b = new Builder(source);
    const ids = source.addInput('ids', 'int64', ['N']);
    const rows = b.op('Gather', [source.addConstant('table', numbers(40, width, 3)), ids]);
    source.outputs.push(b.op('MatMul', [rows, source.addConstant('weight', numbers(width, width, 4))]));
    const { relative, warnings } = await checked(source);
    expect(relative).toBeNull();
    expect(warnings).toContain(
      'not checked on noise: there are no numbers to try for its input ids of type int64',
    );
  });
});
