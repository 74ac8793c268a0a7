import { toFloat32 } from '../../../checkpoint/to-float32.ts';
import { Tensor } from '../../../graph/tensor.ts';
import { type CheckpointLayout, renamed } from '../../checkpoint-layout.ts';

/**
 * As the authors of DINOv2 publish it: a token for masked patches that only training reads, SwiGLU layers
 * w12 and w3, and with registers a position of its own for the class token, which is the same for every
 * image and so belongs to the token.
 */
const dinov2: CheckpointLayout = {
  name: 'DINOv2',
  matches: (state) => state.has('mask_token') && !state.has('decoder_embed.weight'),
  convert(tensors, leftOver) {
    const rename = (name: string) =>
      name === 'mask_token'
        ? undefined
        : name
            .replace(/^register_tokens$/, 'reg_token')
            .replace(/\.mlp\.w12\.(weight|bias)$/, '.mlp.fc1.$1')
            .replace(/\.mlp\.w3\.(weight|bias)$/, '.mlp.fc2.$1');
    const state = renamed(tensors, rename, leftOver);
    const [position, token] = [state.get('pos_embed'), state.get('cls_token')];
    if (state.has('reg_token') && position && token) {
      const [whole, own] = [toFloat32('pos_embed', position), toFloat32('cls_token', token)];
      const [, count, width] = whole.shape as [number, number, number];
      state.set('pos_embed', Tensor.float32([1, count - 1, width], whole.floats.slice(width)));
      state.set(
        'cls_token',
        Tensor.float32(
          own.shape,
          own.floats.map((x, i) => x + whole.floats[i]!),
        ),
      );
    }
    return state;
  },
};

/** As the authors of DeiT III publish it: layer scales without a module of their own. */
const deit3: CheckpointLayout = {
  name: 'DeiT III',
  matches: (state) => state.has('blocks.0.gamma_1'),
  convert: (tensors) =>
    renamed(tensors, (name) => name.replace(/^(blocks\.\d+)\.gamma_([12])$/, '$1.ls$2.gamma')),
};

/** The first ViTs had a layer before the head that later checkpoints lack; timm leaves it out. */
const preLogits: CheckpointLayout = {
  name: 'ViT with pre-logits',
  matches: (state) => [...state.keys()].some((name) => name.startsWith('pre_logits.')),
  convert: (tensors, leftOver) =>
    renamed(tensors, (name) => (name.startsWith('pre_logits.') ? undefined : name), leftOver),
};

/** As masked autoencoders are published after pretraining: with the decoder that is of no use afterwards. */
const maskedAutoencoder: CheckpointLayout = {
  name: 'a masked autoencoder',
  matches: (state) => state.has('decoder_embed.weight'),
  convert: (tensors, leftOver) =>
    renamed(tensors, (name) => (/^(decoder_|mask_token$)/.test(name) ? undefined : name), leftOver),
};

export const layouts: readonly CheckpointLayout[] = [dinov2, maskedAutoencoder, deit3, preLogits];
