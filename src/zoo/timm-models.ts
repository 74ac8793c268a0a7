import type { TimmInputConfig } from '../dataset/preprocessing.ts';
import type { ModelArgs } from './model-args.ts';

/** The fields of timm's `pretrained_cfg` that the table keeps. */
export interface TimmConfigFields extends TimmInputConfig {
  readonly fixed_input_size: boolean;
  readonly num_classes: number;
  /** The module or modules that read the images, and those that make the logits. */
  readonly first_conv: string | readonly string[];
  readonly classifier: string | readonly string[];
}

/** A line of the table: what timm says about one of its names. */
export interface TimmModel {
  /** `module.Class`. */
  readonly class: string;
  /** What the name's entry point gives the constructor. */
  readonly args: ModelArgs;
  /** Where it differs from the table's defaults. */
  readonly config: Partial<TimmConfigFields>;
  readonly parameters: number;
  readonly tensors: number;
  readonly stateHash: string;
  /** Of the pretrained weights there are: `fb_in1k`. */
  readonly tags: readonly string[];
}

/** `data/timm-models.json`, written by scripts/timm-models.mjs. */
export interface TimmModels {
  /** The version of timm. */
  readonly timm: string;
  readonly defaults: TimmConfigFields;
  readonly models: Readonly<Record<string, TimmModel>>;
}

let read: (() => TimmModels) | undefined;
let table: TimmModels | undefined;

/**
 * Says where the table of timm's architectures comes from; it is read when a name is first asked for.
 * Node's readers do this by themselves (`timm-models.node.ts`); in a browser, fetch
 * `data/timm-models.json` and give its contents.
 */
export function provideTimmModels(source: TimmModels | (() => TimmModels)): void {
  read = typeof source === 'function' ? source : () => source;
  table = undefined;
}

/** The table. Throws when nobody provided it, which is the program's fault, not the user's. */
export function timmModels(): TimmModels {
  if (!read) throw new Error("timm's table of architectures is missing: call provideTimmModels first");
  table ??= read();
  return table;
}
