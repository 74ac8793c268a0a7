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
  all?: boolean;
  html?: string;
}

export function inspectCommand(): Command {
  const inspect = command('inspect', 'Show what a model is, and what can be done with it.', [
    'pqv inspect deit/',
    'pqv inspect timm/deit_tiny_patch16_224.fb_in1k',
    'pqv inspect model.onnx --groups',
    'pqv inspect deit/ --html groups.html',
    'pqv inspect weights.safetensors --arch deit_tiny_patch16_224 --json',
  ])
    .argument('<model>', 'folder, .onnx file, name on the Hub, or checkpoint file with --arch')
    .option(
      '--groups',
      'what pruning can remove: each group of channels, what it couples, its rules and its work; and what stays, and why',
    )
    .option('--all', 'with --groups: each group by itself, also where blocks are alike')
    .option('--html <file>', 'write the groups as a page');
  return withCommonOptions(withModelOptions(inspect)).action(async (model: string, options: Options) => {
    const { inspectModel } = await import('../../pipeline/commands/inspect.node.ts');
    const found = await inspectModel(model, { ...options, progress: await progressFor(options) });
    print(options, found, () => formatInspection(found, options.all));
  });
}
