import type { Command } from 'commander';
import { formatInspection } from '../format-inspection.ts';
import {
  type CommonOptions,
  command,
  print,
  progressFor,
  withCommonOptions,
  withModelOptions,
} from '../options.ts';

interface Options extends CommonOptions {
  groups?: boolean;
}

export function inspectCommand(): Command {
  const inspect = command('inspect', 'Show what a model is, and what can be done with it.', [
    'pqv inspect deit/',
    'pqv inspect timm/deit_tiny_patch16_224.fb_in1k',
    'pqv inspect model.onnx --groups',
    'pqv inspect weights.safetensors --arch deit_tiny_patch16_224 --json',
  ])
    .argument('<model>', 'folder, .onnx file, name on the Hub, or checkpoint file with --arch')
    .option('--groups', 'list the groups of channels that pruning can remove');
  return withCommonOptions(withModelOptions(inspect)).action(async (model: string, options: Options) => {
    const { inspectModel } = await import('../../pipeline/commands/inspect.node.ts');
    const found = await inspectModel(model, { ...options, progress: await progressFor(options) });
    print(options, found, () => formatInspection(found));
  });
}
