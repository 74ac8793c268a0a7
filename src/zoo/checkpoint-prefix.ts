import type { Tensor } from '../graph/tensor.ts';

/**
 * Modules that people keep a model in, in front of all its names: of DataParallel, of torch.compile, of Lightning
 * and of training code, of detectors and segmenters, of timm's models in OpenCLIP.
 */
const wrappers = ['module', '_orig_mod', 'model', 'net', 'backbone', 'visual.trunk', 'base_model'];

/** Tensors without the prefix that their names had in common. */
export interface Unwrapped {
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** `module.backbone.`, or nothing. */
  readonly prefix: string;
  /** Names of tensors that were beside the prefix, such as a segmenter's head. */
  readonly beside: readonly string[];
}

/**
 * Drops prefixes in front of all names, or of most, whose other tensors are then left over.
 * @param known modules of the model: where one of them is found, nothing stands in front of it
 */
export function unwrapped(tensors: ReadonlyMap<string, Tensor>, known: readonly string[]): Unwrapped {
  let [found, prefix] = [tensors, ''];
  const beside: string[] = [];
  for (;;) {
    if (known.some((module) => found.has(`${module}.weight`))) return { tensors: found, prefix, beside };
    const next = wrappers
      .map((wrapper) => `${wrapper}.`)
      .find((start) => 2 * [...found.keys()].filter((name) => name.startsWith(start)).length > found.size);
    if (!next) return { tensors: found, prefix, beside };
    const inside = new Map<string, Tensor>();
    for (const [name, tensor] of found) {
      if (name.startsWith(next)) inside.set(name.slice(next.length), tensor);
      else beside.push(name);
    }
    [found, prefix] = [inside, prefix + next];
  }
}
