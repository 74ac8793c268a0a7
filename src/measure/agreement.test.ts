import { describe, expect, it } from 'vitest';
import { Builder } from '../graph/builder.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { compareModels, randomInputs } from './agreement.ts';

/** Logits are the pixels plus an offset each. */
function shifted(offsets: readonly number[]): Graph {
  const graph = new Graph();
  const pixels = graph.addInput('pixel_values', 'float32', ['N', 1, 1, offsets.length]);
  const b = new Builder(graph);
  const flat = b.op('Flatten', [pixels], { axis: 1 });
  graph.outputs.push(b.op('Add', [flat, Tensor.float32([offsets.length], offsets)], {}, 'logits'));
  return graph;
}

const pixels = (...rows: number[][]) => Tensor.float32([rows.length, 1, 1, rows[0]!.length], rows.flat());

describe('compareModels', () => {
  it('reports the largest difference, its size against the reference, and how often the classes agree', async () => {
    const inputs = [pixels([4, 1, 0], [0, 0.2, -8]), pixels([0.1, 0, 0])];
    const result = await compareModels(onnxruntime, shifted([0, 0, 0]), shifted([0, 0.5, 0]), inputs, {
      classifier: true,
    });
    expect(result.maxAbs).toBeCloseTo(0.5, 6);
    expect(result.relative).toBeCloseTo(0.5 / 8, 6);
    expect(result.agreement).toBeCloseTo(2 / 3, 12);
    expect(result.samples).toBe(3);
  });

  it('finds a model equal to itself', async () => {
    const inputs = randomInputs([1, 1, 3], { images: 5, batchSize: 2, seed: 1 });
    const result = await compareModels(onnxruntime, shifted([1, 2, 3]), shifted([1, 2, 3]), inputs);
    expect(result).toMatchObject({ maxAbs: 0, relative: 0, agreement: null, samples: 5 });
  });

  it('compares a model that takes and gives float16 with one in float32', async () => {
    const half = new Graph();
    const input = half.addInput('pixel_values', 'float16', ['N', 1, 1, 3]);
    half.outputs.push(new Builder(half).op('Flatten', [input], { axis: 1 }, 'logits'));
    const inputs = [pixels([1 + 2 ** -11, 2, -3], [0.5, 0.25, 4])];
    const result = await compareModels(onnxruntime, shifted([0, 0, 0]), half, inputs);
    expect(result).toMatchObject({ maxAbs: 2 ** -11, relative: 2 ** -11 / 4, samples: 2 });
  });

  it('compares every output, by its name, or by its place where names differ', async () => {
    const two = (names: readonly string[], offset: number) => {
      const graph = new Graph();
      const input = graph.addInput('pixel_values', 'float32', [2, 1, 1, 3]);
      const b = new Builder(graph);
      const tokens = b.op('Concat', [input, b.op('Add', [input, b.scalar(offset)])], { axis: 1 });
      const outputs = [b.op('Identity', [tokens], {}, 'tokens'), b.op('Flatten', [input], {}, 'pooled')];
      graph.outputs.push(...names.map((name) => outputs.find((output) => output.name === name)!));
      return graph;
    };
    const inputs = [pixels([1, -4, 2], [0, 1, 0], [3, 2, 1])]; // three images, two at a time
    const result = await compareModels(
      onnxruntime,
      two(['tokens', 'pooled'], 0),
      two(['pooled', 'tokens'], 1),
      inputs,
    );
    expect(result).toMatchObject({ maxAbs: 1, relative: 1 / 4, agreement: null, samples: 3 });
    expect(result.outputs).toEqual([
      { name: 'tokens', maxAbs: 1, relative: 1 / 4 },
      { name: 'pooled', maxAbs: 0, relative: 0 },
    ]);
    const renamed = two(['tokens', 'pooled'], 0);
    renamed.rename(renamed.outputs[1]!, 'summary');
    const byPlace = await compareModels(onnxruntime, two(['tokens', 'pooled'], 0), renamed, inputs);
    expect(byPlace).toMatchObject({ maxAbs: 0, samples: 3 });
    await expect(
      compareModels(onnxruntime, two(['tokens', 'pooled'], 0), two(['tokens'], 0), inputs),
    ).rejects.toThrow("don't compare: one gives tokens, pooled, the other tokens");
  });

  it('refuses a model of which nobody knows the image input', async () => {
    const graph = new Graph();
    const b = new Builder(graph);
    const [x, y] = ['left', 'right'].map((name) => graph.addInput(name, 'float32', ['N', 2]));
    graph.outputs.push(b.op('Add', [x, y], {}, 'logits'));
    await expect(compareModels(onnxruntime, graph, graph, [pixels([1, 2, 3])])).rejects.toThrow(
      'the model has the inputs left, right; one must be named pixel_values',
    );
  });

  it('refuses models with different numbers of classes', async () => {
    const one = shifted([0, 0, 0]);
    const two = new Graph();
    const input = two.addInput('pixel_values', 'float32', ['N', 1, 1, 3]);
    const b = new Builder(two);
    two.outputs.push(
      b.op('MatMul', [b.op('Flatten', [input], { axis: 1 }), Tensor.zeros('float32', [3, 2])], {}, 'logits'),
    );
    await expect(compareModels(onnxruntime, one, two, [pixels([1, 2, 3])])).rejects.toThrow(
      "don't compare: one gives logits float32 [1,3], the other float32 [1,2]",
    );
  });

  it('refuses logits that are not numbers, and no inputs', async () => {
    const broken = shifted([0, Number.POSITIVE_INFINITY, 0]);
    await expect(compareModels(onnxruntime, shifted([0, 0, 0]), broken, [pixels([1, 2, 3])])).rejects.toThrow(
      /second model's output logits is not all finite/,
    );
    await expect(compareModels(onnxruntime, broken, broken, [])).rejects.toThrow(/nothing to compare/);
  });
});

it('makes the same random inputs for the same seed, in batches', () => {
  const make = (seed: number) => [...randomInputs([3, 2, 2], { images: 5, batchSize: 2, seed })];
  expect(make(7).map(({ shape }) => shape)).toEqual([
    [2, 3, 2, 2],
    [2, 3, 2, 2],
    [1, 3, 2, 2],
  ]);
  expect(make(7)[1]!.floats).toEqual(make(7)[1]!.floats);
  expect(make(8)[1]!.floats).not.toEqual(make(7)[1]!.floats);
});
