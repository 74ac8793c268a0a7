import { writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { commands } from '../src/cli/commands/index.ts';
import { givenRecipe, recipeParts } from '../src/cli/recipe-options.ts';
import { type Option, optionsOf } from '../src/common/options.ts';
import { formats } from '../src/export/formats.node.ts';
import { overridden } from '../src/pipeline/override.ts';
import { type Recipe, recipeOf, sharedByInt8, stageSections } from '../src/pipeline/recipe.node.ts';
import { readRecipe, recipeText } from '../src/pipeline/recipe-file.node.ts';
import { pruneStage } from '../src/pipeline/stages/prune.node.ts';
import { quantizeStage } from '../src/pipeline/stages/quantize.node.ts';
import { stepsOf } from '../src/pipeline/steps.node.ts';
import { scratch } from './command.ts';
import { recipePage } from './recipe-page.ts';

const at = scratch();

/** Every pass with options: the command that is it, and where its options are in a recipe. */
const passes = [
  { command: 'prune', schema: pruneStage.options, path: ['prune'] },
  { command: 'finetune', schema: stageSections.finetune, path: ['finetune'] },
  { command: 'quantize', schema: quantizeStage.options, path: ['quantize'] },
  ...formats
    .filter(({ options }) => optionsOf(options).length > 0)
    .map(({ name, options }) => ({ command: 'export', schema: options, path: ['export', name] })),
];

const everyOption = passes.flatMap(({ command, schema, path }) => {
  const flags = recipeParts.find((part) => part.path.join() === path.join())!.flags;
  return optionsOf(schema).map((option) => ({
    option,
    command,
    path,
    title: [...path, option.key].join('.'),
    flag: `--${option.name}`,
    optimizeFlag: `--${flags[option.key] ?? option.name}`,
  }));
});

const sample: Record<Exclude<Option['kind'], 'integer'>, unknown> = {
  number: 0.37,
  text: 'blocks.0.*',
  flag: true,
};

/** A value that is not the default. */
function otherValue({ kind, choices, list, map, wanted, default: usual }: Option): unknown {
  const least = Number(/^a whole number from (\d+)/.exec(wanted)?.[1] ?? 0);
  const some = kind === 'integer' ? Math.max(least, 3) : sample[kind];
  const value = choices ? choices.find((choice) => choice !== usual) : usual === true ? false : some;
  return list ? [value] : map ? { 'blocks.0.*': value } : value;
}

/** As a command line gives it. */
const words = (flag: string, value: unknown): string[] => {
  if (typeof value === 'boolean') return [flag];
  if (typeof value !== 'object' || Array.isArray(value)) return [flag, ...[value].flat().map(String)];
  return Object.entries(value!).flatMap(([text, one]) => [flag, `${text}=${one}`]);
};

const flagOf = (command: Command, flag: string) => command.options.find(({ long }) => long === flag);

/** What starts the stage, where something else must be given. */
const starters: Record<string, readonly string[]> = {
  prune: ['--prune', '0.25'],
  finetune: ['--finetune-epochs', '7'],
};

const least = ['some/model', '--data', 'mnist'];

/** The recipe that `optimize` makes of a command line. */
async function recipeFrom(args: readonly string[]): Promise<Recipe> {
  const optimize = await commands.optimize!();
  optimize.exitOverride().action(() => {});
  await optimize.parseAsync([...least, ...args], { from: 'user' });
  return recipeOf(overridden({}, { ...givenRecipe(optimize), model: optimize.args[0]! }));
}

const valueAt = (recipe: unknown, path: readonly string[]): unknown =>
  path.reduce<unknown>((found, key) => (found as Record<string, unknown> | undefined)?.[key], recipe);

/** A recipe as its file says it: a budget for pruning, unless the option is one. */
function written(path: readonly string[], key: string, value: unknown) {
  const budgets = ['ratio', 'heads', 'targetMacs', 'targetLatency'];
  const needed =
    path[0] === 'prune' && !budgets.includes(key)
      ? { ratio: 0.25 }
      : path[0] === 'finetune' && key !== 'epochs'
        ? { epochs: 7 }
        : {};
  const options = { ...needed, [key]: value };
  return path.reduceRight<unknown>((inner, name) => ({ [name]: inner }), options) as Record<string, unknown>;
}

it('finetune takes the int8 numbers to train for as quantize takes them', async () => {
  const [finetune, quantize] = await Promise.all([commands.finetune!(), commands.quantize!()]);
  for (const { name } of optionsOf(quantizeStage.options.pick(sharedByInt8))) {
    const [own, its] = [flagOf(finetune, `--${name}`)!, flagOf(quantize, `--${name}`)!];
    expect([own.flags, own.description, own.defaultValue]).toEqual([
      its.flags,
      its.description,
      its.defaultValue,
    ]);
  }
});

describe.each(everyOption)('$title', ({ option, command, path, flag, optimizeFlag }) => {
  const value = otherValue(option);

  it('says what it is, and what it must be', () => {
    expect(option.description.length).toBeGreaterThan(10);
    expect(option.wanted).not.toBe('');
  });

  it('is on its command and on optimize, with one default', async () => {
    const own = flagOf(await commands[command]!(), flag)!;
    const whole = flagOf(await commands.optimize!(), optimizeFlag)!;
    expect(whole.description).toContain(own.description);
    expect(own.defaultValue).toEqual(whole.defaultValue);
    expect(own.defaultValue ?? undefined).toEqual(option.default === false ? undefined : option.default);
  });

  it('is taken by its command', async () => {
    const own = await commands[command]!();
    own.exitOverride().action(() => {});
    const others = own.options
      .filter(({ mandatory, long }) => mandatory && long !== flag)
      .flatMap(({ long, argChoices }) => [long!, argChoices?.[0] ?? '5']);
    await own.parseAsync(['some/model', ...others, ...words(flag, value)], { from: 'user' });
    expect(own.opts()[flagOf(own, flag)!.attributeName()]).toEqual(value);
  });

  it('reaches the recipe from optimize, and from a file', async () => {
    const starter = starters[path[0]!]?.[0] === optimizeFlag ? [] : (starters[path[0]!] ?? []);
    const alone = ['--target-macs', '--target-latency'].includes(optimizeFlag) ? [] : starter;
    const recipe = await recipeFrom([...alone, ...words(optimizeFlag, value)]);
    expect(valueAt(recipe, [...path, option.key])).toEqual(value);
    const file = at('recipe.json');
    writeFileSync(file, JSON.stringify({ model: 'm', data: 'mnist', ...written(path, option.key, value) }));
    expect(valueAt(recipeOf(readRecipe(file)), [...path, option.key])).toEqual(value);
  });
});

describe('a recipe', () => {
  it('has the same defaults as the command line, whatever is left out', async () => {
    const fromFile = recipeOf({ model: 'some/model', data: 'mnist', prune: { ratio: 0.25 } });
    expect(await recipeFrom(['--prune', '0.25'])).toEqual(fromFile);
  });

  it('is written with nothing left open, and read again as the same', async () => {
    const recipe = await recipeFrom([
      ...['--prune', '0.5', '--importance', 'taylor', '--ignore', 'head.*', '--ignore', 'blocks.0.*'],
      ...['--finetune-epochs', '3', '--distill', '0.3', '--formats', 'onnx,ptl', '--xnnpack'],
      ...['--seed', '5', '--threads', '2', '--samples', '100'],
    ]);
    const file = at('recipe.yaml');
    writeFileSync(file, recipeText(recipe));
    expect(recipeOf(readRecipe(file))).toEqual(recipe);
    expect(recipeText(recipe)).toContain("ratio: 0.5 # share of every group's channels that goes");
  });

  it('gives way to the command line, option by option', () => {
    const file = {
      ...{ model: 'a', data: 'mnist', seed: 3, runs: 9 },
      prune: { ratio: 0.25, importance: 'taylor', roundTo: 8 },
      export: { onnx: { form: 'qdq' } },
    };
    const over = { seed: 4, prune: { targetMacs: 2 }, export: { ptl: { xnnpack: true } } };
    expect(recipeOf(overridden(file, over))).toMatchObject({
      ...{ seed: 4, runs: 9 },
      prune: { targetMacs: 2, importance: 'taylor', roundTo: 8 },
      export: { onnx: { form: 'qdq' }, ptl: { xnnpack: true } },
    });
    expect(overridden(file, over).prune).not.toHaveProperty('ratio');
  });

  it('leaves out stages that nothing starts', async () => {
    const { prune, finetune } = await recipeFrom([
      '--importance',
      'l2',
      '--finetune-epochs',
      '0',
      '--lr',
      '1',
    ]);
    expect({ prune, finetune }).toEqual({ prune: undefined, finetune: undefined });
  });

  it('takes what a preset says of finetuning where nothing else does, and is whole without it', async () => {
    const recipe = await recipeFrom(['--finetune-preset', 'paper', '--lr', '0.001']);
    expect(recipe.finetune).toMatchObject({ preset: 'paper', epochs: 60, lr: 0.001, cutmix: 1, erase: 0.25 });
    const written = { model: 'some/model', data: 'mnist', finetune: { preset: 'paper', lr: 0.001 } };
    expect(recipeOf(written)).toEqual(recipe);
    const file = at('preset.yaml');
    writeFileSync(file, recipeText(recipe));
    expect(recipeOf(readRecipe(file))).toEqual(recipe);
    expect(recipeOf({ ...written, finetune: { preset: 'paper', epochs: 0 } }).finetune).toBeUndefined();
  });

  it.each([
    [{ data: 'mnist' }, 'option model is missing: it must be text'],
    [
      { model: 'm', data: 'mnist', prune: { ratio: 2 } },
      'option prune.ratio: it must be a number between 0 and 1, both excluded, not 2',
    ],
    [{ model: 'm', data: 'mnist', prune: {} }, /how much is to be pruned/],
    [{ model: 'm', data: 'mnist', prune: { ratio: 0.1, targetMacs: 3 } }, /give one of them/],
    [
      { model: 'm', data: 'mnist', prune: { ratios: 0.1 } },
      /no option prune\.ratios; there are ratio, ratioFor, heads/,
    ],
    [{ model: 'm', data: 'mnist', quantise: {} }, /no option quantise; there are model, arch/],
    [
      { model: 'm', data: 'mnist', formats: ['png'] },
      /option formats\.0: it must be a list, each one of onnx, ort/,
    ],
    [{ model: 'm', data: 'mnist', finetune: { lr: 1 } }, /option finetune\.epochs is missing/],
    [
      { model: 'm', data: 'mnist', finetune: { preset: 'papers' } },
      /option finetune\.preset: it must be one of paper, quick, distill/,
    ],
    [
      { model: 'm', data: 'mnist', finetune: { epochs: '3' } },
      /option finetune\.epochs: it must be a whole number of at least 0, not "3"/,
    ],
  ])('%j is refused in one line', (recipe, message) => {
    expect(() => recipeOf(recipe)).toThrow(message);
  });

  it('trains for the int8 numbers that it ships, with --qat', async () => {
    const numbers = ['--scheme', 'static', '--backend', 'qnnpack', '--quantize-ignore', 'head.*'];
    const trained = async (...args: string[]) => {
      const steps = stepsOf(await recipeFrom(['--finetune-epochs', '3', ...args]));
      return steps.find(({ name }) => name === 'finetuned')!.options;
    };
    const plain = {
      qat: false,
      scheme: 'dynamic',
      backend: 'mlas',
      weights: 'safe',
      ignore: [],
      samples: 128,
    };
    expect(await trained(...numbers)).toMatchObject(plain);
    expect(await trained(...numbers, '--qat', '--calibration-samples', '64')).toMatchObject({
      ...{ qat: true, scheme: 'static', backend: 'qnnpack', observer: 'mse' },
      ...{ weights: 'safe', assumeVnni: false, ignore: ['head.*'], samples: 64, epochs: 3 },
    });
    await expect(trained('--qat', '--dtype', 'fp16')).rejects.toThrow(
      /qat trains for int8, .* ships is fp16/,
    );
  });

  it('asks which latency counts where none is measured of what ships', () => {
    const asked = { model: 'm', data: 'mnist', quantize: { dtype: 'fp16' } };
    const prune = { targetLatency: 20 };
    expect(() => recipeOf({ ...asked, prune })).toThrow(/fp16, .* say by prune\.precision/);
    expect(recipeOf({ ...asked, prune: { ...prune, precision: 'fp32' } }).prune).toMatchObject(prune);
  });

  it('knows another file of scores by what is in it', () => {
    const file = at('scores.json');
    const pruning = () => {
      const recipe = recipeOf({ model: 'm', data: 'mnist', prune: { ratio: 0.5, scores: file } });
      return stepsOf(recipe).find(({ name }) => name === 'pruned')!.options;
    };
    writeFileSync(file, '{}');
    const before = pruning();
    expect(pruning()).toEqual(before);
    writeFileSync(file, '[]');
    expect(pruning()).not.toEqual(before);
  });

  it('that is no YAML, or no recipe, is refused', () => {
    writeFileSync(at('broken.yaml'), 'prune: [1, 2');
    expect(() => readRecipe(at('broken.yaml'))).toThrow(/broken\.yaml is no YAML/);
    const levels = Array.from(
      { length: 8 },
      (_, i) => `a${i + 1}: &a${i + 1} [${Array(9).fill(`*a${i}`).join(', ')}]`,
    );
    const laughs = ['a0: &a0 [1]', ...levels, ''].join('\n');
    for (const aliases of ['ignore: [*nothing]', laughs]) {
      writeFileSync(at('alias.yaml'), aliases);
      expect(() => readRecipe(at('alias.yaml'))).toThrow(/alias\.yaml is no YAML: .*alias/i);
    }
    writeFileSync(at('list.yaml'), '- 1\n- 2\n');
    expect(() => readRecipe(at('list.yaml'))).toThrow(/list\.yaml is no recipe/);
    expect(() => readRecipe(at('nowhere.yaml'))).toThrow(/no such file/);
  });
});

it('docs/recipe.md is what the schemas say (vitest -u writes it anew)', async () => {
  await expect(await recipePage()).toMatchFileSnapshot('../docs/recipe.md');
});
