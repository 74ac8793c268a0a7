import type { Command } from 'commander';
import { UserError } from '../../common/errors.ts';
import { optionsOf } from '../../common/options.ts';
import { pruneStage } from '../../pipeline/stages/prune.node.ts';
import { formatPruned } from '../format.ts';
import {
  type CommonOptions,
  command,
  interruptible,
  print,
  progressFor,
  withCommonOptions,
  withDataOptions,
  withModelOptions,
  withProvider,
} from '../options.ts';
import { addOptions, valuesOf } from '../schema-options.ts';

interface Options extends CommonOptions {
  output?: string;
  dryRun?: boolean;
  data?: string;
}

export function pruneCommand(): Command {
  const prune = command('prune', 'Remove the least important channels and heads for good.', [
    'pqv prune deit/ -o pruned/ --ratio 0.09375',
    'pqv prune deit/ -o pruned/ --ratio 0.25 --importance taylor --data imagenet/ --samples 512',
    'pqv prune deit/ -o pruned/ --ratio 0.25 --compensate ridge --data imagenet/ --samples 512',
    'pqv prune deit/ -o pruned/ --target-macs 9 --bottleneck --round-to 8',
    'pqv prune deit/ -o pruned/ --target-latency 40 --precision int8 --threads 2',
    'pqv prune deit/ -o pruned/ --heads 0.25',
    'pqv prune deit/ --ratio 0.25 --global --dry-run',
  ])
    .argument('<model>', 'folder, .onnx file, name on the Hub, or checkpoint file with --arch')
    .option('-o, --output <dir>', 'folder to write; required but for --dry-run')
    .option('--dry-run', 'say what would go from each group, and write nothing');
  const options = optionsOf(pruneStage.options);
  withDataOptions(addOptions(prune, options), 'images for importances that look at some, and --compensate');
  return withCommonOptions(withProvider(withModelOptions(prune))).action(
    async (model: string, common: Options) => {
      const output = common.dryRun ? undefined : common.output;
      if (!common.dryRun && output === undefined) {
        throw new UserError("required option '-o, --output <dir>' not specified (--dry-run needs none)");
      }
      const { pruneModel } = await import('../../pipeline/commands/prune.node.ts');
      const progress = await progressFor(common);
      const given = valuesOf(prune, options);
      const result = await interruptible((signal) =>
        pruneModel(model, output, given, { ...common, progress, signal }),
      );
      print(common, result, () => formatPruned(result, output));
    },
  );
}
