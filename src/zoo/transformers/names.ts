import type { Tensor } from '../../graph/tensor.ts';
import type { NameRule } from './row.ts';
import { joinedRows } from './tensors.ts';

/** Attention of three Linears under `from`, which timm has as one, `to.qkv`. */
export const joinedQueries = (from: string, to: string): NameRule[] => [
  [new RegExp(`^${from}\\.(?:query|q_proj)\\.(?<kind>weight|bias)$`), `${to}.qkv.$<kind>@0`],
  [new RegExp(`^${from}\\.(?:key|k_proj)\\.(?<kind>weight|bias)$`), `${to}.qkv.$<kind>@1`],
  [new RegExp(`^${from}\\.(?:value|v_proj)\\.(?<kind>weight|bias)$`), `${to}.qkv.$<kind>@2`],
];

/** The layers of a BERT-like encoder under `from`, blocks of timm's under `to`. */
export const encoderLayers = (from: string, to: string, attention: string): NameRule[] => [
  ...joinedQueries(`${from}\\.attention\\.${attention}`, `${to}.attn`),
  [new RegExp(`^${from}\\.attention\\.output\\.dense\\.`), `${to}.attn.proj.`],
  [new RegExp(`^${from}\\.layernorm_before\\.`), `${to}.norm1.`],
  [new RegExp(`^${from}\\.layernorm_after\\.`), `${to}.norm2.`],
  [new RegExp(`^${from}\\.intermediate\\.dense\\.`), `${to}.mlp.fc1.`],
  [new RegExp(`^${from}\\.output\\.dense\\.`), `${to}.mlp.fc2.`],
];

/** Images cut into patches, of most of transformers' models. */
export const patchEmbedding: NameRule[] = [
  [/^embeddings\.cls_token$/, 'cls_token'],
  [/^embeddings\.position_embeddings$/, 'pos_embed'],
  [/^embeddings\.patch_embeddings\.projection\./, 'patch_embed.proj.'],
];

/** A classifier, and what only pretraining and other tasks read. */
export const heads: NameRule[] = [
  [/^classifier\./, 'head.'],
  [/^embeddings\.mask_token$/, undefined],
  [/^(pooler|lm_head|decoder|decode_head|auxiliary_head|fpn[12]|segmentation_head)\./, undefined],
];

/**
 * The tensors under timm's names, parts joined.
 * @param leftOver gets the names of what timm does not have
 */
export function withTimmNames(
  tensors: ReadonlyMap<string, Tensor>,
  rules: readonly NameRule[],
  leftOver: string[],
): Map<string, Tensor> {
  const state = new Map<string, Tensor>();
  const parts = new Map<string, Tensor[]>();
  for (const [name, tensor] of tensors) {
    const rule = rules.find(([pattern]) => pattern.test(name));
    const to = rule ? rule[1] : name;
    if (rule === undefined || to === undefined) {
      if (rule) leftOver.push(name);
      else state.set(name, tensor);
      continue;
    }
    const renamed =
      typeof to === 'string'
        ? name.replace(rule[0], to)
        : name.replace(rule[0], (_, ...groups: string[]) => to(...groups));
    const [whole, part] = renamed.split('@') as [string, string | undefined];
    if (part === undefined) state.set(whole, tensor);
    else {
      const found = parts.get(whole) ?? [];
      found[Number(part)] = tensor;
      parts.set(whole, found);
    }
  }
  for (const [name, tensors] of parts) state.set(name, joinedRows(name, tensors));
  return state;
}
