import type { Command } from 'commander';
import { optionsOf } from '../../common/options.ts';
import { finetuneStage } from '../../pipeline/stages/finetune.node.ts';
import { withPreset } from '../../train/presets.ts';
import { formatFinetuned, formatPrepared } from '../format.ts';
import {
  type CommonOptions,
  command,
  interruptible,
  print,
  progressFor,
  warnUnused,
  withCommonOptions,
  withDataOptions,
  withModelOptions,
  withProvider,
} from '../options.ts';
import { addOptions, givenOf } from '../schema-options.ts';
import { type WatchOptions, watched, withWatchOptions } from '../watch.ts';

interface Options extends CommonOptions, WatchOptions {
  output: string;
  data: string;
  teacher?: string;
  resume?: boolean;
  prepareOnly?: boolean;
  newHead?: boolean;
}

/** Options that decide whether others have an effect. */
interface Deciding {
  optimizer?: string;
  schedule?: string;
  erase?: number;
  qat?: boolean;
  scheme?: string;
  weights?: string;
  distillKind?: string;
  engine?: string;
}

export function finetuneCommand(): Command {
  const finetune = command('finetune', 'Train a model further, to win back what pruning cost.', [
    'pqv finetune pruned/ -o tuned/ --data imagenet/ --epochs 10 --lr 1e-4',
    'pqv finetune pruned/ -o tuned/ --data imagenet/ --epochs 10 --teacher deit/ --distill 0.5',
    'pqv finetune pruned/ -o tuned/ --data imagenet/ --preset paper --epochs 30',
    'pqv finetune pruned/ -o tuned/ --data imagenet/ --epochs 10 --resume --board',
    'pqv finetune pruned/ -o tuned/ --data imagenet/ --epochs 10 --qat --backend qnnpack --weights torch',
    'pqv finetune deit/ -o flowers/ --data flowers/ --epochs 10 --new-head --layer-decay 0.75',
    'pqv finetune pruned/ -o tuned/ --data imagenet/ --epochs 60 --engine torchrun --nproc-per-node 4',
  ])
    .argument('<model>', 'folder, .onnx file, name on the Hub, or checkpoint file with --arch')
    .requiredOption('-o, --output <dir>', 'folder to write; checkpoints go there too');
  withDataOptions(finetune);
  const options = optionsOf(finetuneStage.options);
  addOptions(
    finetune,
    options.map((option) => ({ ...option, required: false })), // a preset may give it
  )
    .option('--new-head', 'start a new head for the classes of the data set; all other weights stay')
    .option('--resume', 'go on from the last checkpoint in the output folder')
    .option(
      '--prepare-only',
      'with --engine torchrun: write the job, and what to run where the GPUs are; --resume reads the result',
    );
  return withCommonOptions(withProvider(withModelOptions(withWatchOptions(finetune)))).action(
    async (model: string, common: Options) => {
      const unused = !common.teacher && '--teacher';
      const given = givenOf(finetune, options);
      const deciding: Deciding = { ...finetune.opts(), ...withPreset(given) };
      const { optimizer, schedule, erase, qat, scheme, weights, distillKind, engine } = deciding;
      const elsewhere = engine !== 'torchrun' && '--engine torchrun';
      const sgd = optimizer !== 'sgd' && '--optimizer sgd';
      const stepped = schedule !== 'step' && '--schedule step';
      const float = !qat && '--qat';
      const ranged = scheme !== 'static' && '--scheme static';
      warnUnused(finetune, {
        ...{ distill: unused, temperature: unused || (distillKind !== 'soft' && '--distill-kind soft') },
        ...{ momentum: sgd, nesterov: sgd, decayEpochs: stepped, decayRate: stepped },
        eraseMode: !erase && '--erase',
        ...{ scheme: float, backend: float, weights: float, ignore: float },
        ...{ assumeVnni: float || (weights === 'torch' && '--weights safe') },
        ...{ observer: float || ranged, samples: float || ranged },
        ...{ nprocPerNode: elsewhere, nnodes: elsewhere, engineArgs: elsewhere, amp: elsewhere },
        prepareOnly: elsewhere,
        provider: engine === 'torchrun' && '--engine ort',
      });
      const { finetuneModel } = await import('../../pipeline/commands/finetune.node.ts');
      const progress = await progressFor(common);
      const result = await watched(common, progress, (watcher) =>
        interruptible((signal) =>
          finetuneModel(model, common.output, given, { ...common, progress, signal, watcher }),
        ),
      );
      print(common, result, () =>
        'prepared' in result ? formatPrepared(result) : formatFinetuned(result, common.output),
      );
    },
  );
}
