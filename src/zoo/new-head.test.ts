import { describe, expect, it } from 'vitest';
import { checkGraph } from '../graph/check.ts';
import { modelParameters } from '../graph/learned.ts';
import { Tensor } from '../graph/tensor.ts';
import { importGraph } from '../import/import-graph.ts';
import { readOnnx } from '../onnx/read.ts';
import { writeOnnx } from '../onnx/write.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import { initModel } from './model.ts';
import { modelInfo } from './model-info.ts';
import { newHead } from './new-head.ts';

const tiny = (architecture: string, numClasses = 7) =>
  initModel({
    architecture,
    modelArgs: { img_size: 8, patch_size: 4, embed_dim: 8, depth: 1, num_heads: 2 },
    numClasses,
  });
const pixels = Tensor.float32([2, 3, 8, 8], new Float32Array(384).fill(0.5));

describe('a new head', () => {
  it.each([
    ['vit_tiny_patch16_224', ['head.weight', 'head.bias']],
    ['deit_tiny_distilled_patch16_224', ['head.weight', 'head.bias', 'head_dist.weight', 'head_dist.bias']],
  ])('of %s is all that is new', async (architecture, names) => {
    const model = tiny(architecture);
    const { graph } = model.clone();
    expect(newHead(graph, ['oak', 'elm', 'fir']).toSorted()).toEqual(names.toSorted());
    const shapes = names.map((name) => graph.constants.get(name)!.shape);
    expect(shapes).toEqual(names.map((name) => (name.endsWith('bias') ? [3] : [3, 8])));
    expect(modelInfo(graph)).toMatchObject({ numClasses: 3, classNames: ['oak', 'elm', 'fir'] });
    for (const { name } of modelParameters(model)) {
      const same = graph.constants.get(name)!.tensor === model.constants.get(name)!.tensor;
      expect([name, same]).toEqual([name, !names.includes(name)]);
    }
    expect(checkGraph(graph)).toEqual([]);
    const { logits } = await runOnce(onnxruntime, graph, { pixel_values: pixels });
    expect(logits!.shape).toEqual([2, 3]);
    expect(logits!.floats.some((number) => number !== 0)).toBe(true);
  });

  it('is given to a file from elsewhere too', async () => {
    const file = tiny('vit_tiny_patch16_224');
    file.metadata.clear();
    const graph = readOnnx(writeOnnx(file));
    importGraph(graph);
    newHead(graph, ['oak', 'elm']);
    const { logits } = await runOnce(onnxruntime, graph, { pixel_values: pixels });
    expect(logits!.shape).toEqual([2, 2]);
  });

  it('needs a classifier', () => {
    expect(() => newHead(tiny('vit_tiny_patch16_224', 0), ['oak'])).toThrow(/no classifier/);
  });
});
