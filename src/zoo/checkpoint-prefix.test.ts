import { expect, it } from 'vitest';
import { Tensor } from '../graph/tensor.ts';
import { unwrapped } from './checkpoint-prefix.ts';

const state = (...names: string[]) => new Map(names.map((name) => [name, Tensor.float32([1], [1])] as const));
const result = (...names: string[]) => {
  const { tensors, prefix, beside } = unwrapped(state(...names), ['model.stem']);
  return [[...tensors.keys()], prefix, beside];
};

it('drops what wrappers put in front of all names, one in the other', () => {
  expect(result('a.weight', 'b.weight')).toEqual([['a.weight', 'b.weight'], '', []]);
  expect(result('module.a', 'module.b')).toEqual([['a', 'b'], 'module.', []]);
  expect(result('_orig_mod.module.a', '_orig_mod.module.b')).toEqual([['a', 'b'], '_orig_mod.module.', []]);
});

it('leaves over what is beside a backbone, and takes no part for the whole', () => {
  const names = ['backbone.a', 'backbone.b', 'decode_head.c'];
  expect(result(...names)).toEqual([['a', 'b'], 'backbone.', ['decode_head.c']]);
  expect(result('model.a', 'b', 'c')).toEqual([['model.a', 'b', 'c'], '', []]);
});

it('leaves a module of the model itself where it is', () => {
  expect(result('model.stem.weight', 'model.a')).toEqual([['model.stem.weight', 'model.a'], '', []]);
  const inside = [['model.stem.weight', 'model.a'], 'module.', []];
  expect(result('module.model.stem.weight', 'module.model.a')).toEqual(inside);
});
