import { readCheckpoint } from '../../src/checkpoint/read-checkpoint.ts';
import { inMemory } from '../../src/checkpoint/safetensors.ts';
import { readShardIndex } from '../../src/checkpoint/shards.ts';
import {
  Call,
  Global,
  Persistent,
  type Pickled,
  Tuple,
  tuple,
  writePickle,
} from '../../src/checkpoint/torch/pickle.ts';
import { concatenate } from '../../src/onnx/write.ts';
import { configuredModel } from '../../src/zoo/configured-model.ts';
import { readPreprocessor } from '../../src/zoo/transformers/preprocessing.ts';
import type { Kind } from './kinds.ts';
import { json, mutatedBytes, mutatedValue } from './mutate.ts';

const bytesOf = (value: string) => new TextEncoder().encode(value);
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** What `torch.save` wrote before PyTorch 1.6. */
function legacyFile(): Uint8Array {
  const storage = new Persistent(tuple('storage', new Global('torch', 'FloatStorage'), '0', 'cpu', 6));
  const hooks = new Call(new Global('collections', 'OrderedDict'), tuple());
  const layout = [0, new Tuple([2, 3]), new Tuple([3, 1]), false] as const;
  const weight = new Call(new Global('torch._utils', '_rebuild_tensor_v2'), tuple(storage, ...layout, hooks));
  const state = new Map<Pickled, Pickled>([['model', new Map([['blocks.0.weight', weight]])]]);
  return concatenate([
    Uint8Array.of(0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e),
    ...[1001, new Map<Pickled, Pickled>([['little_endian', true]]), state, ['0']].map(writePickle),
    new Uint8Array(BigInt64Array.of(6n).buffer),
    new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer),
  ]);
}

const vit = {
  hidden_size: 8,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  intermediate_size: 16,
  image_size: 8,
  patch_size: 4,
};
const configurations = [
  { model_type: 'vit', ...vit, layer_norm_eps: 1e-6, id2label: { 0: 'a', 1: 'b' } },
  { model_type: 'dinov2', ...vit, mlp_ratio: 2, use_swiglu_ffn: true },
  {
    model_type: 'swin',
    embed_dim: 8,
    depths: [1, 1],
    num_heads: [1, 2],
    window_size: 2,
    image_size: 16,
    patch_size: 2,
  },
  { model_type: 'clip', vision_config: vit },
  {
    model_type: 'segformer',
    hidden_sizes: [4, 4, 4, 4],
    depths: [1, 1, 1, 1],
    num_attention_heads: [1, 1, 1, 1],
  },
  { model_type: 'mobilevit', hidden_sizes: [64, 80, 96], neck_hidden_sizes: [16, 16, 24, 48, 64, 80, 320] },
];
const preprocessor = {
  do_resize: true,
  size: { shortest_edge: 256 },
  do_center_crop: true,
  crop_size: { height: 224, width: 224 },
  resample: 3,
  do_rescale: true,
  rescale_factor: 1 / 255,
  do_normalize: true,
  image_mean: [0.5, 0.5, 0.5],
  image_std: [0.5, 0.5, 0.5],
};
const index = {
  metadata: { total_size: 8 },
  weight_map: { a: 'model-1.safetensors', b: 'model-2.safetensors' },
};

/** Checkpoints of others, and what lies beside them. */
export const checkpointKinds: Readonly<Record<string, Kind>> = {
  'legacy torch': {
    make: (random) => mutatedBytes(legacyFile(), random),
    use(bytes) {
      for (const tensor of readCheckpoint(inMemory(bytes, 'model.pth')).tensors.values()) void tensor.data;
    },
  },
  transformers: {
    make: (random) =>
      bytesOf(json(mutatedValue(configurations[random.below(configurations.length)]!, random))),
    use(bytes) {
      const config = { text: text(bytes), path: 'config.json' };
      configuredModel(config, undefined, { tensors: new Map(), where: 'weights' });
    },
  },
  preprocessor: {
    make: (random) => bytesOf(json(mutatedValue(preprocessor, random))),
    use: (bytes) => readPreprocessor(text(bytes), 'preprocessor_config.json', 3, [224, 224]),
  },
  'shard index': {
    make: (random) => bytesOf(json(mutatedValue(index, random))),
    use: (bytes) => readShardIndex(text(bytes), 'model.safetensors.index.json'),
  },
};
