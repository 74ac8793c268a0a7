import type { Command } from 'commander';
import { type Option, type OptionsSchema, optionsOf } from '../common/options.ts';
import type { RecipeInput } from '../pipeline/override.ts';
import { exportSections, resultOptions, sourceOptions, stageSections } from '../pipeline/recipe.node.ts';
import { addOptions, givenOf } from './schema-options.ts';

/** A part of a recipe, and how `optimize` is given it. */
export interface RecipePart {
  /** Over its options in help. */
  readonly title: string;
  readonly schema: OptionsSchema;
  /** Where its options are in a recipe: `['export', 'onnx']`. */
  readonly path: readonly string[];
  /** Flags that differ from the options' names, by key: on `optimize` several stages have `samples`. */
  readonly flags: Readonly<Record<string, string>>;
}

export const recipeParts: readonly RecipePart[] = [
  { title: 'Run:', schema: sourceOptions.omit({ model: true }), path: [], flags: {} },
  {
    title: 'Prune (given --prune, --heads, --target-macs or --target-latency):',
    schema: stageSections.prune,
    path: ['prune'],
    flags: { ratio: 'prune', samples: 'importance-samples' },
  },
  {
    title: 'Finetune (given --finetune-epochs or --finetune-preset):',
    schema: stageSections.finetune,
    path: ['finetune'],
    flags: { epochs: 'finetune-epochs', preset: 'finetune-preset', limit: 'finetune-limit' },
  },
  {
    title: 'Quantize:',
    schema: stageSections.quantize,
    path: ['quantize'],
    flags: {
      samples: 'calibration-samples',
      ignore: 'quantize-ignore',
      force: 'quantize-force',
      preset: 'quantize-preset',
      maxDrop: 'quantize-max-drop',
    },
  },
  ...Object.entries(exportSections).map(([format, schema]) => ({
    title: 'Export:',
    schema,
    path: ['export', format],
    flags: {},
  })),
  {
    title: 'Measure and write:',
    schema: resultOptions.omit({ seed: true, threads: true }),
    path: [],
    flags: { evalSamples: 'samples' },
  },
];

/** Options of the common ones that are part of a recipe too. */
const common = optionsOf(resultOptions.pick({ seed: true, threads: true }));

/** Adds the options of a recipe; none must be given, as a recipe file may hold it. Formats share those of one name. */
export function addRecipeOptions(target: Command): void {
  const added = new Set<string>();
  for (const { title, schema, flags } of recipeParts) {
    const fresh = optionsOf(schema).filter((option) => !added.has(flagOf(option, flags)));
    for (const option of fresh) added.add(flagOf(option, flags));
    target.optionsGroup(title);
    addOptions(
      target,
      fresh.map((option) => ({ ...option, required: false })),
      flags,
    );
  }
  target.optionsGroup('Options:');
}

const flagOf = ({ key, name }: Option, flags: RecipePart['flags']): string => flags[key] ?? name;

/** What the command line says of a recipe; defaults are no part of it. */
export function givenRecipe(target: Command): RecipeInput {
  const given: Record<string, unknown> = givenOf(target, common);
  for (const { schema, path, flags } of recipeParts) {
    const values = givenOf(target, optionsOf(schema), flags);
    if (Object.keys(values).length === 0) continue;
    let at = given;
    for (const key of path) {
      at[key] ??= {};
      at = at[key] as Record<string, unknown>;
    }
    Object.assign(at, values);
  }
  return given;
}
