import type { Command } from 'commander';
import { type CommonOptions, command, parse, print, withCommonOptions } from '../options.ts';

interface Options extends CommonOptions {
  output: string;
  numClasses?: number;
  modelArgs?: Record<string, unknown>;
  maxParameters: number;
}

export function initCommand(): Command {
  const init = command('init', 'Make a model folder in timm layout with random weights.', [
    'pqv init deit_base_patch16_224 -o deit/',
    `pqv init vit_tiny_patch16_224 -o tiny/ --num-classes 10 --model-args '{"img_size": 32, "patch_size": 4}'`,
  ])
    .argument('<arch>', 'a timm architecture name')
    .requiredOption('-o, --output <dir>', 'folder to write')
    .option('--num-classes <n>', 'classes of the head', parse.integer(0))
    .option('--model-args <json>', "overrides of the architecture's arguments", parse.json)
    .option('--max-parameters <n>', 'a model of more is refused', parse.integer(1), 10e9);
  return withCommonOptions(init).action(async (arch: string, options: Options) => {
    const { initModel } = await import('../../pipeline/commands/init.node.ts');
    const made = await initModel(arch, options.output, options);
    print(
      options,
      made,
      () => `${made.architecture}: ${made.parameters.toLocaleString('en')} parameters in ${options.output}`,
    );
  });
}
