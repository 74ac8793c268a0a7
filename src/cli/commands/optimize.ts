import { type Command, Option } from 'commander';
import { dataForms } from '../../dataset/data-forms.ts';
import { backends, formatNames, importances, precisions, schemes } from '../../pipeline/recipe.node.ts';
import {
  type CommonOptions,
  command,
  interruptible,
  parse,
  print,
  progressFor,
  withCommonOptions,
} from '../options.ts';

interface Options extends CommonOptions {
  output: string;
  data: string;
  arch?: string;
  prune?: number;
  importance: (typeof importances)[number];
  importanceSamples: number;
  headDims: 'tied' | 'free';
  finetuneEpochs: number;
  batchSize: number;
  lr: number;
  distill: number;
  dtype: (typeof precisions)[number];
  scheme: (typeof schemes)[number];
  backend: (typeof backends)[number];
  formats: string[];
  samples?: number;
  runs: number;
  compareBackends?: boolean;
  resume?: boolean;
}

export function optimizeCommand(): Command {
  const optimize = command('optimize', 'The whole job: prune, finetune, quantize, export, measure, report.', [
    'pqv optimize deit/ -o runs/deit --data imagenet/ --prune 0.09375 --importance taylor --finetune-epochs 10',
    'pqv optimize deit/ -o runs/deit --data imagenet/ --prune 0.25 --finetune-epochs 10 --formats onnx,ort --resume',
  ])
    .argument('<model>', 'folder, .onnx file, or checkpoint file with --arch')
    .requiredOption('-o, --output <dir>', 'run directory')
    .requiredOption('--data <data>', dataForms)
    .option(
      '--prune <r>',
      "share of every group's channels that goes; without it nothing is pruned",
      parse.ratio,
    )
    .addOption(
      new Option('--importance <how>', 'how channels are ranked').choices(importances).default('taylor'),
    )
    .option('--importance-samples <n>', 'images taylor and hessian look at', parse.integer(1), 256)
    .addOption(
      new Option('--head-dims <how>', 'tied or free head dimensions')
        .choices(['tied', 'free'])
        .default('free'),
    )
    .option('--finetune-epochs <n>', 'passes over the training images; 0: no finetuning', parse.integer(0), 0)
    .option('--batch-size <n>', 'images a training step', parse.integer(1), 64)
    .option('--lr <x>', 'peak learning rate', parse.number(0), 3e-4)
    .option('--distill <x>', "weight of the dense model's soft targets in the loss", parse.number(0), 0)
    .addOption(new Option('--dtype <type>', 'number type that ships').choices(precisions).default('int8'))
    .addOption(new Option('--scheme <how>', 'activation ranges').choices(schemes).default('dynamic'))
    .addOption(new Option('--backend <name>', 'whose int8 arithmetic').choices(backends).default('mlas'))
    .option('--formats <list>', `files to write: ${formatNames.join(', ')}`, parse.list(formatNames), [
      'onnx',
    ])
    .option('--samples <n>', 'measure accuracy on only this many held-out images', parse.integer(1))
    .option('--runs <n>', 'timed runs of each model', parse.integer(1), 50)
    .option('--compare-backends', 'measure accuracy in fp16 and under every int8 backend and scheme too')
    .option('--resume', 'take over the finished stages of an earlier run')
    .option('--arch <name>', 'architecture of a bare checkpoint file');
  return withCommonOptions(optimize).action(async (model: string, options: Options) => {
    const { optimizeModel } = await import('../../pipeline/optimize.node.ts');
    const progress = await progressFor(options);
    const recipe = {
      model,
      arch: options.arch,
      data: options.data,
      prune: options.prune
        ? {
            ratio: options.prune,
            importance: options.importance,
            samples: options.importanceSamples,
            headDims: options.headDims,
          }
        : undefined,
      finetune: options.finetuneEpochs
        ? {
            epochs: options.finetuneEpochs,
            batchSize: options.batchSize,
            lr: options.lr,
            distill: options.distill,
          }
        : undefined,
      quantize:
        options.dtype === 'fp32'
          ? undefined
          : { dtype: options.dtype, scheme: options.scheme, backend: options.backend },
      formats: options.formats,
      compareBackends: options.compareBackends ?? false,
      evalSamples: options.samples,
      runs: options.runs,
      seed: options.seed,
      threads: options.threads,
    };
    const run = await interruptible((signal) =>
      optimizeModel(recipe, options.output, { resume: options.resume ?? false, progress, signal }),
    );
    print(options, run.report, () => `${run.table}\n\n${run.html}`);
  });
}
