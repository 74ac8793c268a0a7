import { UserError } from '../../common/errors.ts';
import { quoted } from '../../common/quoted.ts';
import { readArguments } from '../arguments.ts';
import type { ModelArgs } from '../model-args.ts';
import type { Fields } from './row.ts';

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Typed reads of the fields of a config.json. */
export function fieldsOf(config: Readonly<Record<string, unknown>>): Fields {
  return {
    ...readArguments(config, Object.keys(config)),
    has: (name) => Object.hasOwn(config, name) && config[name] !== null,
    inner(name) {
      const value = Object.hasOwn(config, name) ? config[name] : undefined;
      return isRecord(value) ? fieldsOf(value) : undefined;
    },
  };
}

/** transformers' activations under timm's names. */
const activations = new Map([
  ['gelu', 'gelu'],
  ['gelu_new', 'gelu_tanh'],
  ['gelu_fast', 'gelu_tanh'],
  ['gelu_pytorch_tanh', 'gelu_tanh'],
  ['quick_gelu', 'quick_gelu'],
  ['relu', 'relu'],
  ['silu', 'silu'],
  ['swish', 'silu'],
]);

/** @throws UserError on an activation that timm's models do not have */
export function activationOf(fields: Fields, fallback = 'gelu'): string {
  const name = fields.text('hidden_act', fallback);
  const found = activations.get(name);
  if (!found) throw new UserError(`hidden_act ${quoted(name)} is not supported`);
  return found;
}

/** timm's `norm_layer` of an epsilon. */
export const layerNorm = (epsilon: number): ModelArgs => ({
  norm_layer: { partial: 'LayerNorm', kwargs: { eps: epsilon } },
});

/** The ratio with which timm, which rounds down, has so many hidden units. */
export function ratioOf(hidden: number, width: number): number {
  const ratio = hidden / width;
  return Math.trunc(width * ratio) === hidden ? ratio : (hidden + 0.5) / width;
}

/** What the ViTs of transformers have in common. @param epsilon of their norms, where the file does not say */
export function transformerArgs(fields: Fields, epsilon = 1e-12): ModelArgs {
  const width = fields.integer('hidden_size', 768, 1);
  return {
    patch_size: fields.integer('patch_size', 16, 1),
    embed_dim: width,
    depth: fields.integer('num_hidden_layers', 12, 0),
    num_heads: fields.integer('num_attention_heads', 12, 1),
    mlp_ratio: ratioOf(fields.integer('intermediate_size', 4 * width, 1), width),
    act_layer: activationOf(fields),
    ...layerNorm(fields.number('layer_norm_eps', epsilon)),
  };
}

/** Sizes of the images that a configuration is for. */
export const imagesOf = (fields: Fields, edge = 224) => ({
  imageSize: fields.pair('image_size', edge),
  channels: fields.integer('num_channels', 3, 1),
});
