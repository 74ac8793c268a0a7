import { describe, expect, it } from 'vitest';
import type { Split } from '../dataset/dataset.ts';
import type { Preprocessing } from '../dataset/preprocessing.ts';
import { Builder } from '../graph/builder.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { evaluate, Score } from './accuracy.ts';

const preprocessing: Preprocessing = {
  inputSize: [1, 2, 4],
  mean: [0],
  std: [0.1],
  interpolation: 'bilinear',
  cropPct: 1,
  cropMode: 'squash',
};

/** Its class is the place of the brightest of the eight pixels. */
function brightestPixel(batch: number | string = 'N'): Graph {
  const graph = new Graph();
  const pixels = graph.addInput('pixel_values', 'float32', [batch, 1, 2, 4]);
  const b = new Builder(graph);
  graph.outputs.push(b.op('Flatten', [pixels], { axis: 1 }, 'logits'));
  return graph;
}

/** Images with a bright pixel at `shown[i]`, labelled `labels[i]`; `damaged` ones can't be read. */
function images(shown: readonly number[], labels: readonly number[], damaged: readonly number[] = []): Split {
  return {
    name: 'dots',
    length: shown.length,
    label: (i) => labels[i]!,
    id: (i) => `dot/${i}`,
    read: async (i) => {
      if (damaged.includes(i)) throw new Error('cut off');
      const data = new Uint8Array(8);
      data[shown[i]!] = 255;
      return { width: 4, height: 2, channels: 1, data };
    },
  };
}

describe('evaluate', () => {
  it.each(['N', 1, 3])('measures top-1, top-5 and loss over all batches (of a model of %s)', async (size) => {
    const split = images([0, 1, 2, 3, 4], [0, 1, 2, 3, 5]);
    const result = await evaluate(onnxruntime, brightestPixel(size), split, { preprocessing, batchSize: 2 });
    expect(result.samples).toBe(5);
    expect(result.skipped).toBe(0);
    expect(result.top1).toBeCloseTo(4 / 5, 12);
    // Behind class 4 the others tie; class 5 is the sixth of them.
    expect(result.top5).toBeCloseTo(4 / 5, 12);
    const normalizer = Math.log(Math.exp(10) + 7);
    expect(result.loss).toBeCloseTo(normalizer - (4 * 10) / 5, 4);
    expect(result.imagesPerSecond).toBeGreaterThan(0);
  });

  it('spreads a limit over the split', async () => {
    const split = images([0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 7, 7, 7, 7]);
    const result = await evaluate(onnxruntime, brightestPixel(), split, {
      preprocessing,
      batchSize: 4,
      limit: 2,
    });
    expect(result).toMatchObject({ samples: 2, top1: 0.5 });
  });

  it('keeps examples from all over the split and the mistakes', async () => {
    const shown = Array.from({ length: 80 }, (_, i) => Math.floor(i / 10));
    const labels = shown.map((place, i) => (i === 33 ? 6 : place));
    const { examples, mistakes } = await evaluate(onnxruntime, brightestPixel(), images(shown, labels), {
      preprocessing,
      batchSize: 16,
      examples: 8,
    });
    expect(examples.map(({ label }) => label)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(mistakes).toEqual([{ id: 'dot/33', label: 6, predicted: 3, probability: expect.closeTo(1, 3) }]);
  });

  it('counts images that cannot be read', async () => {
    const shown = Array.from({ length: 200 }, (_, i) => i % 8);
    const split = images(shown, shown, [13]);
    const result = await evaluate(onnxruntime, brightestPixel(), split, { preprocessing, batchSize: 50 });
    expect(result).toMatchObject({ samples: 199, skipped: 1, top1: 1 });
  });

  it('refuses labels the model has no class for', async () => {
    const split = images([0], [12]);
    await expect(
      evaluate(onnxruntime, brightestPixel(), split, { preprocessing, batchSize: 1 }),
    ).rejects.toThrow(/dot\/0 has class index 12, but the model has 8 classes/);
  });

  it('refuses a model whose logits are no [samples, classes]', async () => {
    const graph = new Graph();
    const pixels = graph.addInput('pixel_values', 'float32', ['N', 1, 2, 4]);
    graph.outputs.push(new Builder(graph).op('Relu', [pixels]));
    await expect(
      evaluate(onnxruntime, graph, images([0], [0]), { preprocessing, batchSize: 1 }),
    ).rejects.toThrow('the model gives float32 [1,1,2,4] for 1 images; expected float [1, classes]');
  });

  it('stops between batches when told to', async () => {
    const stop = new AbortController();
    const progress = {
      task: () => ({ update: () => stop.abort(new Error('enough')), done() {} }),
      note() {},
    };
    const split = images([0, 1, 2], [0, 1, 2]);
    await expect(
      evaluate(onnxruntime, brightestPixel(), split, {
        preprocessing,
        batchSize: 1,
        progress,
        signal: stop.signal,
      }),
    ).rejects.toThrow('enough');
  });
});

describe('Score', () => {
  const one = (logits: number[], label: number) => {
    const score = new Score(0, 1);
    score.add(Float32Array.from(logits), logits.length, [label], ['x']);
    return { top1: score.top1, top5: score.top5 };
  };

  it('gives ties to the lower index, as argmax does', () => {
    expect(one([1, 1, 0], 0)).toEqual({ top1: 1, top5: 1 });
    expect(one([1, 1, 0], 1)).toEqual({ top1: 0, top5: 1 });
  });

  it('gives a model that answers NaN nothing', () => {
    const nan = Number.NaN;
    expect(one([nan, nan, nan, nan, nan, nan], 0)).toEqual({ top1: 0, top5: 0 });
    expect(one([nan, 1, 0], 1)).toEqual({ top1: 0, top5: 1 });
  });

  it('takes every label to be among the best five of four classes', () => {
    expect(one([3, 2, 1, 0], 3).top5).toBe(1);
    expect(one([5, 4, 3, 2, 1, 0], 4).top5).toBe(1);
    expect(one([5, 4, 3, 2, 1, 0], 5).top5).toBe(0);
  });

  it('does not overflow on large logits', () => {
    const score = new Score(0, 1);
    score.add(Tensor.float32([1, 2], [1000, 998]).floats, 2, [1], ['x']);
    expect(score.loss).toBeCloseTo(Math.log(1 + Math.exp(-2)) + 2, 6);
  });
});
