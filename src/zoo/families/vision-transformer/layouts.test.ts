import { expect, it } from 'vitest';
import { Tensor } from '../../../graph/tensor.ts';
import { renamed, toTimmLayout } from '../../checkpoint-layout.ts';
import { initModel } from '../../model.ts';
import { stateDict } from '../../state.ts';
import { layouts } from './layouts.ts';

const small = { img_size: 28, embed_dim: 24, depth: 2, num_heads: 3 };
const state = (architecture: string, modelArgs = {}) =>
  stateDict(initModel({ architecture, modelArgs: { ...small, ...modelArgs } }, 4));

function expectSame(found: ReadonlyMap<string, Tensor>, expected: ReadonlyMap<string, Tensor>): void {
  expect([...found.keys()].sort()).toEqual([...expected.keys()].sort());
  for (const [name, tensor] of expected) {
    expect(found.get(name)!.shape, name).toEqual(tensor.shape);
    tensor.floats.forEach((x, i) => {
      expect(found.get(name)!.floats[i], name).toBeCloseTo(x, 6);
    });
  }
}

it("leaves timm's own layout alone", () => {
  const tensors = state('vit_small_patch14_dinov2');
  expect(toTimmLayout(layouts, tensors)).toBe(tensors);
});

it('reads DINOv2 with registers and SwiGLU as its authors publish it', () => {
  const expected = state('vit_giant_patch14_reg4_dinov2');
  const published = renamed(expected, (name) =>
    name
      .replace('reg_token', 'register_tokens')
      .replace('.mlp.fc1.', '.mlp.w12.')
      .replace('.mlp.fc2.', '.mlp.w3.'),
  );
  expect([...published.keys()]).toContain('blocks.0.mlp.w12.weight');
  const [token, position] = [expected.get('cls_token')!, expected.get('pos_embed')!];
  const own = Float32Array.from({ length: 24 }, (_, i) => Math.cos(i));
  published.set('mask_token', Tensor.zeros('float32', [1, 24]));
  published.set(
    'cls_token',
    Tensor.float32(
      [1, 1, 24],
      token.floats.map((x, i) => x - own[i]!),
    ),
  );
  const count = position.shape[1]! + 1;
  published.set('pos_embed', Tensor.float32([1, count, 24], Float32Array.from([...own, ...position.floats])));
  expectSame(toTimmLayout(layouts, published), expected);
});

it('reads DeiT III as its authors publish it', () => {
  const expected = state('deit3_small_patch16_224', { img_size: 32 });
  const published = renamed(expected, (name) => name.replace(/\.ls([12])\.gamma$/, '.gamma_$1'));
  expect(published.has('blocks.1.gamma_2')).toBe(true);
  expectSame(toTimmLayout(layouts, published), expected);
});

it('leaves out the layer before the head of the first ViTs', () => {
  const expected = state('vit_tiny_patch16_224', { img_size: 32 });
  const older = new Map(expected).set('pre_logits.fc.weight', Tensor.zeros('float32', [24, 24]));
  expectSame(toTimmLayout(layouts, older), expected);
});
