import { expect, it } from 'vitest';
import { UserError } from '../../common/errors.ts';
import type { Graph } from '../../graph/graph.ts';
import { Tensor } from '../../graph/tensor.ts';
import { onnxruntime } from '../../runtime/onnxruntime.node.ts';
import { runOnce } from '../../runtime/session.ts';
import { initModel } from '../model.ts';
import { modelInfo } from '../model-info.ts';
import { stateDict } from '../state.ts';
import '../timm-models.node.ts';
import { isTransformers, modelOfTransformers } from './model.ts';
import { rowsOf } from './tensors.ts';

const config = {
  model_type: 'vit',
  hidden_size: 24,
  num_hidden_layers: 1,
  num_attention_heads: 3,
  intermediate_size: 96,
  image_size: 32,
  patch_size: 8,
  layer_norm_eps: 1e-6,
  id2label: { 1: 'dog', 0: 'cat' },
};
const timms = () =>
  initModel({
    architecture: 'vit_tiny_patch16_224',
    modelArgs: { img_size: 32, patch_size: 8, embed_dim: 24, depth: 1, num_heads: 3 },
    numClasses: 2,
  });

/** A state dict as transformers has it: attention apart, all in a module, and a pooler that is of no use. */
function theirs(graph: Graph): Map<string, Tensor> {
  const state = new Map<string, Tensor>();
  const layer = 'vit.encoder.layer.0.';
  for (const [name, tensor] of stateDict(graph)) {
    const [, kind] = /^blocks\.0\.attn\.qkv\.(\w+)$/.exec(name) ?? [];
    if (kind) {
      ['query', 'key', 'value'].forEach((part, i) => {
        state.set(`${layer}attention.attention.${part}.${kind}`, rowsOf(name, tensor, 24 * i, 24 * (i + 1)));
      });
      continue;
    }
    const renamed = name
      .replace(/^head\./, 'classifier.')
      .replace(/^norm\./, 'vit.layernorm.')
      .replace(/^patch_embed\.proj\./, 'vit.embeddings.patch_embeddings.projection.')
      .replace(/^cls_token$/, 'vit.embeddings.cls_token')
      .replace(/^pos_embed$/, 'vit.embeddings.position_embeddings')
      .replace(/^blocks\.0\.attn\.proj\./, `${layer}attention.output.dense.`)
      .replace(/^blocks\.0\.norm1\./, `${layer}layernorm_before.`)
      .replace(/^blocks\.0\.norm2\./, `${layer}layernorm_after.`)
      .replace(/^blocks\.0\.mlp\.fc1\./, `${layer}intermediate.dense.`)
      .replace(/^blocks\.0\.mlp\.fc2\./, `${layer}output.dense.`);
    state.set(renamed, tensor);
  }
  return state.set('vit.pooler.dense.bias', Tensor.zeros('float32', [24]));
}

const load = (changes: object, tensors: Map<string, Tensor>, say?: (line: string) => void) =>
  modelOfTransformers({ ...config, ...changes }, 'config.json', undefined, { tensors, where: 'w' }, { say });

it('is the model of timm that it was made from, and says what it did', async () => {
  const graph = timms();
  const said: string[] = [];
  const loaded = load({}, theirs(graph), (line) => said.push(line));
  const pixels = Tensor.float32(
    [1, 3, 32, 32],
    Float32Array.from({ length: 3072 }, (_, i) => Math.cos(i)),
  );
  const [found, expected] = await Promise.all(
    [loaded, graph].map((model) => runOnce(onnxruntime, model, { pixel_values: pixels })),
  );
  expect([...found!.logits!.floats]).toEqual([...expected!.logits!.floats]);
  expect(said).toEqual([
    'w: from the layout of transformers (vit), as vit_tiny_patch16_224; left over: pooler.dense.bias',
  ]);
  expect(modelInfo(loaded)).toMatchObject({ classNames: ['cat', 'dog'], preprocessingFrom: 'assumed' });
});

it('knows which config.json is whose', () => {
  expect(isTransformers({ model_type: 'vit' })).toBe(true);
  expect(isTransformers({ architecture: 'vit_tiny_patch16_224', model_type: 'vit' })).toBe(false);
});

it.each([
  [{ model_type: 'bert' }, /^config\.json: model_type "bert" is none of those that are read/],
  [{ model_type: 'constructor' }, /none of those/],
  [{ hidden_size: 'wide' }, /^config\.json: .*hidden_size is "wide"/],
  [{ hidden_act: 'snake' }, /hidden_act "snake" is not supported/],
  [{ num_hidden_layers: 2 }, /lacks tensors blocks\.1/],
  [{ hidden_size: 48 }, /has shape \[1,1,24\], the architecture expects \[1,1,48\]/],
])('refuses %j', (changes, message) => {
  const act = () => load(changes, theirs(timms()));
  expect(act).toThrow(UserError);
  expect(act).toThrow(message);
});

it('names the part of an attention that is missing', () => {
  const tensors = theirs(timms());
  tensors.delete('vit.encoder.layer.0.attention.attention.key.weight');
  expect(() => load({}, tensors)).toThrow(/a part of blocks\.0\.attn\.qkv\.weight is missing/);
});
