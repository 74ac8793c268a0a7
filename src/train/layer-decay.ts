import { UserError } from '../common/errors.ts';

/** Blocks by their numbers: `blocks.3`, `stages.1.blocks.0`, `layers.2`; what else a stage has goes with its first. */
const block = /(?:^|\.)(?:blocks|layers|stages)\.(\d+)(?:\.(?:blocks|layers|layer)\.(\d+))?/;

/** The layer of each parameter, from the input on: what is before the blocks, each block (with the last the norm behind it), the rest. */
function layerNumbers(names: readonly string[]): number[] | undefined {
  const places = names.map((name) => {
    const found = block.exec(name);
    return found ? [Number(found[1]), Number(found[2] ?? 0)] : undefined;
  });
  const first = places.findIndex((place) => place !== undefined);
  if (first < 0) return undefined;
  const ordered = [...new Set(places.flatMap((place) => (place ? [`${place}`] : [])))]
    .map((text) => text.split(',').map(Number))
    .sort(([a, b], [c, d]) => a! - c! || b! - d!)
    .map(String);
  return places.map((place, i) => {
    if (place) return 1 + ordered.indexOf(`${place}`);
    if (i < first) return 0;
    return ordered.length + (/^norm\b/.test(names[i]!) ? 0 : 1);
  });
}

/**
 * How fast each parameter learns when every layer learns `decay` times as fast as the one behind it, the head at the
 * full rate: as BEiT (arXiv 2106.08254) and timm's `param_groups_layer_decay`, which makes the same layers of its ViT and
 * Swin.
 * @param names of the parameters in the model's order
 * @throws UserError when there are no blocks among them
 */
export function layerRates(names: readonly string[], decay: number): Map<string, number> {
  const numbers = layerNumbers(names);
  if (!numbers) {
    throw new UserError('layer decay needs blocks, which no parameter of this model is named after');
  }
  const last = Math.max(...numbers);
  return new Map(names.map((name, i) => [name, decay ** (last - numbers[i]!)]));
}
