import type { Command } from 'commander';
import { formatInspection } from '../format.ts';
import { type CommonOptions, command, print, withCommonOptions } from '../options.ts';

interface Options extends CommonOptions {
  arch?: string;
  groups?: boolean;
}

export function inspectCommand(): Command {
  const inspect = command('inspect', 'Show parameters, MACs, input, layers and what can be pruned.', [
    'pqv inspect deit/',
    'pqv inspect model.onnx --groups',
    'pqv inspect weights.safetensors --arch deit_tiny_patch16_224 --json',
  ])
    .argument('<model>', 'folder, .onnx file, or checkpoint file with --arch')
    .option('--arch <name>', 'architecture of a bare checkpoint file')
    .option('--groups', 'list the groups of channels that pruning can remove');
  return withCommonOptions(inspect).action(async (model: string, options: Options) => {
    const { inspectModel } = await import('../../pipeline/commands/inspect.node.ts');
    const found = await inspectModel(model, options);
    print(options, found, () => formatInspection(found));
  });
}
