import { expect, it } from 'vitest';
import { initModel } from '../zoo/model.ts';
import { noiseFor } from './noise.ts';
import { onnxruntime } from './onnxruntime.node.ts';
import { runOnce } from './session.ts';
import { Walk } from './walk.ts';

it('gives what a model gives when it is run as a whole, also where a constant changes in between', async () => {
  const model = initModel({
    architecture: 'vit_tiny_patch16_224',
    modelArgs: { img_size: 32, patch_size: 8, embed_dim: 32, depth: 2, num_heads: 2, num_classes: 10 },
  });
  const { name } = model.inputs[0]!;
  const batches = [1, 2].map((seed) => ({ [name]: noiseFor(model.inputs[0]!, 3, seed)! }));
  const walk = new Walk(onnxruntime, model, batches);
  const at = model.nodes.filter(({ op }) => op === 'LayerNormalization').map((node) => node.output());
  const found = [];
  for (const value of at) found.push(await walk.to([value]));
  const bias = model.constants.get('head.bias')!;
  bias.tensor!.floats[3] = 7;
  const last = await walk.to([model.outputs[0]!]);
  model.outputs.push(...at);
  for (const [i, batch] of batches.entries()) {
    const whole = await runOnce(onnxruntime, model, batch);
    for (const [k, value] of at.entries()) {
      found[k]![i]![value.name]!.floats.forEach((number, j) => {
        expect(Math.abs(number - whole[value.name]!.floats[j]!)).toBeLessThan(1e-4);
      });
    }
    const { name: output } = model.outputs[0]!;
    expect(last[i]![output]!.floats[3]).toBeCloseTo(whole[output]!.floats[3]!, 4);
    expect(whole[output]!.floats[3]).toBeGreaterThan(5);
  }
});
