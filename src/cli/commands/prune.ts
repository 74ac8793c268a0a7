import type { Command } from 'commander';
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
} from '../options.ts';
import { addOptions, valuesOf } from '../schema-options.ts';

interface Options extends CommonOptions {
  output: string;
  data?: string;
}

export function pruneCommand(): Command {
  const prune = command('prune', 'Remove the least important channels and heads for good.', [
    'pqv prune deit/ -o pruned/ --ratio 0.09375',
    'pqv prune deit/ -o pruned/ --ratio 0.25 --importance taylor --data imagenet/ --samples 512',
    'pqv prune deit/ -o pruned/ --target-macs 9 --bottleneck --round-to 8',
    'pqv prune deit/ -o pruned/ --heads 0.25',
  ])
    .argument('<model>', 'folder, .onnx file, name on the Hub, or checkpoint file with --arch')
    .requiredOption('-o, --output <dir>', 'folder to write');
  const options = optionsOf(pruneStage.options);
  withDataOptions(addOptions(prune, options), 'images for taylor and hessian');
  return withCommonOptions(withModelOptions(prune)).action(async (model: string, common: Options) => {
    const { pruneModel } = await import('../../pipeline/commands/prune.node.ts');
    const progress = await progressFor(common);
    const given = valuesOf(prune, options);
    const result = await interruptible((signal) =>
      pruneModel(model, common.output, given, { ...common, progress, signal }),
    );
    print(common, result, () => formatPruned(result, common.output));
  });
}
