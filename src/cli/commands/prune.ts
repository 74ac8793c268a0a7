import { type Command, Option } from 'commander';
import { dataForms } from '../../dataset/data-forms.ts';
import { importances } from '../../pipeline/recipe.node.ts';
import { formatPruned } from '../format.ts';
import {
  type CommonOptions,
  command,
  interruptible,
  parse,
  print,
  progressFor,
  withCommonOptions,
} from '../options.ts';

export interface PruneOptions {
  ratio: number;
  importance: (typeof importances)[number];
  samples: number;
  headDims: 'tied' | 'free';
  global?: boolean;
  heads: number;
  bottleneck?: boolean;
  roundTo: number;
  ignore: string[];
  targetMacs?: number;
}

interface Options extends CommonOptions, PruneOptions {
  output: string;
  data?: string;
  arch?: string;
}

export function pruneCommand(): Command {
  const prune = command('prune', 'Remove the least important channels and heads for good.', [
    'pqv prune deit/ -o pruned/ --ratio 0.09375 --importance l1',
    'pqv prune deit/ -o pruned/ --ratio 0.25 --importance taylor --data imagenet/ --samples 512',
    'pqv prune deit/ -o pruned/ --ratio 0.5 --importance l2 --bottleneck --round-to 8',
  ])
    .argument('<model>', 'folder, .onnx file, or checkpoint file with --arch')
    .requiredOption('-o, --output <dir>', 'folder to write')
    .requiredOption('--ratio <r>', "share of every group's channels that goes", parse.ratio)
    .addOption(new Option('--importance <how>', 'how channels are ranked').choices(importances).default('l1'))
    .option('--data <data>', `images for taylor and hessian: ${dataForms}`)
    .option('--samples <n>', 'images taylor and hessian look at', parse.integer(1), 256)
    .addOption(
      new Option('--head-dims <how>', 'tied: the same dimensions from every head; free: each head its own')
        .choices(['tied', 'free'])
        .default('free'),
    )
    .option('--global', 'rank channels across groups instead of taking the ratio from each')
    .option('--heads <r>', 'share of whole heads that goes', parse.number(0), 0)
    .option('--bottleneck', 'leave the embedding as it is')
    .option('--round-to <k>', 'keep a multiple of k channels in every group', parse.integer(1), 1)
    .option('--ignore <glob>', 'parameters not to prune; may be given again', collect, [])
    .option('--target-macs <g>', 'choose the ratio so that about this many GMACs are left', parse.number(0))
    .option('--arch <name>', 'architecture of a bare checkpoint file');
  return withCommonOptions(prune).action(async (model: string, options: Options) => {
    const { pruneModel } = await import('../../pipeline/models.node.ts');
    const progress = await progressFor(options);
    const result = await interruptible((signal) => pruneModel(model, { ...options, progress, signal }));
    print(options, result, () => formatPruned(result, options.output));
  });
}

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}
