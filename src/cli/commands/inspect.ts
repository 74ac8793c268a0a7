import type { Command } from 'commander';
import { UserError } from '../../common/errors.ts';
import { formatFile } from '../format-file.ts';
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
  arch?: string;
}

export function inspectCommand(): Command {
  const inspect = command('inspect', 'Show what a model is, and what can be done with it.', [
    'pqv inspect deit/',
    'pqv inspect timm/deit_tiny_patch16_224.fb_in1k',
    'pqv inspect model.onnx --groups',
    'pqv inspect deit/ --html groups.html',
    'pqv inspect model.tflite',
    'pqv inspect weights.safetensors --arch deit_tiny_patch16_224 --json',
  ])
    .argument(
      '<model>',
      'folder, .onnx file, name on the Hub, checkpoint file with --arch, or a file for a runtime',
    )
    .option(
      '--groups',
      'what pruning can remove: each group of channels, what it couples, its rules and its work; and what stays, and why',
    )
    .option('--all', 'with --groups: each group by itself, also where blocks are alike')
    .option('--html <file>', 'write the groups as a page');
  return withCommonOptions(withModelOptions(inspect)).action(async (model: string, options: Options) => {
    const { inspectFile, runtimeFormat } = await import('../../pipeline/commands/inspect-file.node.ts');
    const format = options.arch === undefined ? runtimeFormat(model) : undefined;
    if (format) {
      const [unfit] = (['groups', 'all', 'html'] as const).filter((name) => options[name]);
      if (unfit)
        throw new UserError(
          `--${unfit} is for models, and ${model} is a file for a runtime: give the model it was exported from`,
        );
      const file = await inspectFile(model, format);
      return print(options, file, () => formatFile(file));
    }
    const { inspectModel } = await import('../../pipeline/commands/inspect.node.ts');
    const found = await inspectModel(model, { ...options, progress: await progressFor(options) });
    print(options, found, () => formatInspection(found, options.all));
  });
}
