import { expect, it } from 'vitest';
import { initModel } from '../../zoo/model.ts';
import { lowerGraph } from './lower-graph.ts';
import { prepackForXnnpack } from './xnnpack.ts';

it('turns every float Linear and the patch embedding into XNNPACK layers, and nothing else', () => {
  const model = initModel({
    architecture: 'vit_tiny_patch16_224',
    modelArgs: { img_size: 32, embed_dim: 32, depth: 2, num_heads: 2 },
    numClasses: 3,
  });
  const before = lowerGraph(model).calls.map(({ operator }) => operator);
  const program = lowerGraph(model);
  prepackForXnnpack(program);
  const renamed: Record<string, string> = {
    'aten::linear': 'prepacked::linear_clamp_run',
    'aten::conv2d': 'prepacked::conv2d_clamp_run',
  };
  expect(before.filter((operator) => operator in renamed)).toHaveLength(1 + 2 * 4 + 1);
  expect(program.calls.map(({ operator }) => operator)).toEqual(before.map((name) => renamed[name] ?? name));
  expect(
    program.calls.filter(({ operator }) => operator.startsWith('prepacked')).map(({ args }) => args.length),
  ).toEqual(Array(10).fill(2));
});
