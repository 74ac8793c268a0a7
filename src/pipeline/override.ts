type Options = Readonly<Record<string, unknown>>;

/** A recipe as it is written: a stage's options are in a section of its own, a format's in one of `export`. */
export interface RecipeInput extends Options {
  readonly prune?: Options;
  readonly finetune?: Options;
  readonly quantize?: Options;
  readonly export?: Readonly<Record<string, Options>>;
}

const sections = ['prune', 'finetune', 'quantize'] as const;
type Section = (typeof sections)[number];

/** Stages that are left out of a run unless one of these options is given. */
const startedBy: Partial<Record<Section, readonly string[]>> = {
  prune: ['ratio', 'ratioFor', 'heads', 'targetMacs', 'targetLatency'],
  finetune: ['epochs', 'preset'],
};

/** Options that say the same thing in other words: one that is given takes the place of the others. */
const rivals: readonly (readonly string[])[] = [
  ['ratio', 'targetMacs', 'targetLatency'],
  ['global', 'ranking'],
];

/** The sections of `over` that have no effect, as nothing starts their stage. */
export const idleSections = (base: RecipeInput, over: RecipeInput): Section[] =>
  sections.filter((section) => {
    const given = over[section];
    const starts = startedBy[section];
    return given && starts && !base[section] && !starts.some((key) => key in given);
  });

/** A recipe with some options given over it, each in the place of its own or its rival. */
export function overridden(base: RecipeInput, given: RecipeInput): RecipeInput {
  const idle: readonly string[] = idleSections(base, given);
  const over: RecipeInput = Object.fromEntries(Object.entries(given).filter(([key]) => !idle.includes(key)));
  const result: Record<string, unknown> = { ...base, ...over };
  for (const section of sections) {
    const options = merged(base[section], over[section]);
    if (options !== undefined) result[section] = options;
  }
  const formats = Object.keys({ ...base.export, ...over.export });
  if (formats.length > 0) {
    const told = formats.map((name) => [name, merged(base.export?.[name], over.export?.[name])]);
    result.export = Object.fromEntries(told);
  }
  return result;
}

function merged(base: Options | undefined, over: Options | undefined): Options | undefined {
  if (!base || !over) return over ?? base;
  const replaced = rivals.filter((options) => options.some((option) => option in over)).flat();
  const kept = Object.entries(base).filter(([key]) => !(key in over) && !replaced.includes(key));
  return { ...Object.fromEntries(kept), ...over };
}
