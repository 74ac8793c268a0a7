import type { Tensor } from '../../graph/tensor.ts';
import type { readArguments } from '../arguments.ts';
import type { ModelArgs } from '../model-args.ts';
import type { StateShapes } from '../state.ts';

/** Typed reads of the fields of a config.json. */
export type Fields = ReturnType<typeof readArguments> & {
  has(name: string): boolean;
  /** What is under a name, where it is an object. */
  inner(name: string): Fields | undefined;
};

/** Which of timm's models one of transformers is. */
export interface Plan {
  /** timm's names of its class; the one that needs the fewest other arguments is taken. */
  readonly names: readonly string[];
  /** The constructor's arguments, but image size, channels and classes. */
  readonly args: ModelArgs;
  /** Edge of the images, in pixels. */
  readonly imageSize: number | readonly number[];
  readonly channels: number;
  /** The classifier reads the class token beside the mean of the patches, which timm has no pool for. */
  readonly classAndMean?: boolean;
}

/**
 * What a tensor of transformers is called in timm, by a pattern of its name; the first that fits counts. A name
 * with `@0`, `@1`... stands for the parts of one tensor, joined along the first axis; undefined: timm has no such.
 */
export type NameRule = readonly [
  pattern: RegExp,
  timm: string | ((...groups: string[]) => string) | undefined,
];

/** A model type of transformers: all that is known of it. */
export interface TransformersRow {
  /** `model_type` in its config.json. */
  readonly types: readonly string[];
  /** Modules that the model itself may be in: `vit`. */
  readonly modules: readonly string[];
  /** @param state names without those modules */
  plan(fields: Fields, state: StateShapes): Plan;
  readonly rules: readonly NameRule[];
  /** What names alone don't say. @param leftOver gets the names of what is not needed */
  adapt?(state: Map<string, Tensor>, leftOver: string[]): void;
}
