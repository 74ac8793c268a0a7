import type { Command } from 'commander';
import type { ListedModel } from '../../pipeline/commands/list.node.ts';
import { columns } from '../columns.ts';
import { type CommonOptions, command, print, withCommonOptions } from '../options.ts';

interface Options extends CommonOptions {
  pretrained?: boolean;
}

export function listCommand(): Command {
  const list = command('list', "List timm's architectures and the pretrained weights of each on the Hub.", [
    "pqv list 'swin*'",
    "pqv list 'vit_*_dinov2' --pretrained",
    'pqv list mobilevit --json',
  ])
    .argument('[pattern]', 'with * and ?; without them any name that contains it', '*')
    .option('--pretrained', 'only those with weights on the Hugging Face Hub');
  return withCommonOptions(list).action(async (pattern: string, options: Options) => {
    const { listModels } = await import('../../pipeline/commands/list.node.ts');
    const models = listModels(pattern, options);
    print(options, { models }, () => formatModels(models));
  });
}

function formatModels(models: readonly ListedModel[]): string {
  const rows = models.map(({ name, built, parameters, input, weights }) => [
    name,
    `${(parameters / 1e6).toFixed(1)} M`,
    input.join('x'),
    // The default first: the name alone stands for it.
    built ? weights.map(({ tag }) => tag).join(' ') : 'not built yet',
  ]);
  const count = `${models.length} name${models.length === 1 ? '' : 's'}`;
  return `${columns(['name', 'parameters', 'input', 'weights'], rows)}\n\n${count}; pqv inspect NAME takes the first weights, NAME.WEIGHTS others`;
}
