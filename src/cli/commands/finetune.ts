import { type Command, Option } from 'commander';
import { dataForms } from '../../dataset/data-forms.ts';
import { formatFinetuned } from '../format.ts';
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
  epochs: number;
  arch?: string;
  batchSize: number;
  lr: number;
  weightDecay: number;
  warmup: number;
  labelSmoothing: number;
  clipNorm: number;
  teacher?: string;
  distill: number;
  resume?: boolean;
}

export function finetuneCommand(): Command {
  const finetune = command('finetune', 'Train a model further, to win back what pruning cost.', [
    'pqv finetune pruned/ -o tuned/ --data imagenet/ --epochs 10 --lr 1e-4',
    'pqv finetune pruned/ -o tuned/ --data imagenet/ --epochs 10 --teacher deit/ --distill 0.5',
    'pqv finetune pruned/ -o tuned/ --data imagenet/ --epochs 10 --resume',
  ])
    .argument('<model>', 'folder, .onnx file, or checkpoint file with --arch')
    .requiredOption('-o, --output <dir>', 'folder to write; checkpoints go there too')
    .requiredOption('--data <data>', dataForms)
    .requiredOption('--epochs <n>', 'passes over the training images', parse.integer(1))
    .option('--batch-size <n>', 'images a step', parse.integer(1), 64)
    .option('--lr <x>', 'peak learning rate', parse.number(0), 3e-4)
    .option('--weight-decay <x>', 'AdamW weight decay, not on norms and biases', parse.number(0), 0.05)
    .option('--warmup <share>', 'share of the steps in which the rate rises', parse.number(0), 0.1)
    .option('--label-smoothing <x>', 'probability given to the other classes', parse.number(0), 0.1)
    .option('--clip-norm <x>', 'global gradient norm to clip at; 0: off', parse.number(0), 1)
    .option('--teacher <model>', 'learn from this model too (distillation)')
    .option('--distill <x>', "weight of the teacher's soft targets in the loss", parse.number(0), 0.5)
    .option('--resume', 'go on from the last checkpoint in the output folder')
    .addOption(new Option('--engine <name>', 'what trains').choices(['ort']).default('ort'))
    .option('--arch <name>', 'architecture of a bare checkpoint file');
  return withCommonOptions(finetune).action(async (model: string, options: Options) => {
    const { finetuneModel } = await import('../../pipeline/models.node.ts');
    const progress = await progressFor(options);
    const result = await interruptible((signal) => finetuneModel(model, { ...options, progress, signal }));
    print(options, result, () => formatFinetuned(result, options.output));
  });
}
