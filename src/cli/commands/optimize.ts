import type { Command } from 'commander';
import { UserError } from '../../common/errors.ts';
import {
  type CommonOptions,
  command,
  interruptible,
  print,
  progressFor,
  withCommonOptions,
} from '../options.ts';
import { addRecipeOptions, givenRecipe } from '../recipe-options.ts';
import { type WatchOptions, watched, withWatchOptions } from '../watch.ts';

interface Options extends CommonOptions, WatchOptions {
  output?: string;
  recipe?: string;
  printRecipe?: boolean;
  resume?: boolean;
}

export function optimizeCommand(): Command {
  const optimize = command('optimize', 'The whole job: prune, finetune, quantize, export, measure, report.', [
    'pqv optimize deit/ -o runs/deit --data imagenet/ --prune 0.09375 --importance taylor --finetune-epochs 10',
    'pqv optimize deit/ -o runs/deit --data imagenet/ --prune 0.25 --finetune-epochs 10 --formats onnx,ort --resume',
    'pqv optimize --recipe runs/deit/recipe.yaml -o runs/again',
    'pqv optimize --recipe recipe.yaml --prune 0.5 -o runs/half',
  ])
    .argument(
      '[model]',
      'folder, .onnx file, name on the Hub, or checkpoint file with --arch; the recipe may name it',
    )
    .option('-o, --output <dir>', 'run directory')
    .option('--recipe <file>', 'YAML or JSON with any of the options; what is given here goes before it')
    .option('--print-recipe', 'print the recipe, with every option and what it means, and do nothing else')
    .option('--resume', 'take over the finished stages of an earlier run');
  addRecipeOptions(optimize);
  return withCommonOptions(withWatchOptions(optimize)).action(
    async (model: string | undefined, options: Options) => {
      const { readRecipe, recipeText } = await import('../../pipeline/recipe-file.node.ts');
      const { idleSections, overridden } = await import('../../pipeline/override.ts');
      const { recipeOf } = await import('../../pipeline/recipe.node.ts');
      const file = options.recipe === undefined ? {} : readRecipe(options.recipe);
      const given = { ...givenRecipe(optimize), ...(model === undefined ? {} : { model }) };
      const asked = overridden(file, given);
      const recipe = recipeOf(asked);
      for (const section of idleSections(file, given)) {
        process.stderr.write(`pqv: options of ${section} have no effect: ${starts[section]}\n`);
      }
      if (options.printRecipe) {
        print(options, recipe, () => recipeText(recipe).trimEnd());
        return;
      }
      const directory = options.output;
      if (directory === undefined) throw new UserError('say where to: -o DIR is the run directory');
      const { optimizeModel } = await import('../../pipeline/optimize.node.ts');
      const progress = await progressFor(options);
      const run = await watched(options, progress, (watcher) =>
        interruptible((signal) =>
          optimizeModel(asked, directory, { resume: options.resume ?? false, progress, signal, watcher }),
        ),
      );
      print(options, run.report, () => `${run.table}\n\n${run.html}`);
    },
  );
}

/** What the options of a stage go with. */
const starts: Readonly<Record<string, string>> = {
  prune: 'they go with --prune, --heads, --target-macs or --target-latency',
  finetune: 'they go with --finetune-epochs or --finetune-preset',
};
