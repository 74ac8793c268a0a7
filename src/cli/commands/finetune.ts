import { type Command, Option } from 'commander';
import { optionsOf } from '../../common/options.ts';
import { finetuneStage } from '../../pipeline/stages/finetune.node.ts';
import { withPreset } from '../../train/presets.ts';
import { formatFinetuned } from '../format.ts';
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
} from '../options.ts';
import { addOptions, givenOf } from '../schema-options.ts';
import { type WatchOptions, watched, withWatchOptions } from '../watch.ts';

interface Options extends CommonOptions, WatchOptions {
  output: string;
  data: string;
  teacher?: string;
  resume?: boolean;
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
}

export function finetuneCommand(): Command {
  const finetune = command('finetune', 'Train a model further, to win back what pruning cost.', [
    'pqv finetune pruned/ -o tuned/ --data imagenet/ --epochs 10 --lr 1e-4',
    'pqv finetune pruned/ -o tuned/ --data imagenet/ --epochs 10 --teacher deit/ --distill 0.5',
    'pqv finetune pruned/ -o tuned/ --data imagenet/ --preset paper --epochs 30',
    'pqv finetune pruned/ -o tuned/ --data imagenet/ --epochs 10 --resume --board',
    'pqv finetune pruned/ -o tuned/ --data imagenet/ --epochs 10 --qat --backend qnnpack --weights torch',
  ])
    .argument('<model>', 'folder, .onnx file, name on the Hub, or checkpoint file with --arch')
    .requiredOption('-o, --output <dir>', 'folder to write; checkpoints go there too');
  withDataOptions(finetune);
  const options = optionsOf(finetuneStage.options);
  addOptions(
    finetune,
    options.map((option) => ({ ...option, required: false })), // a preset may give it
  )
    .option('--resume', 'go on from the last checkpoint in the output folder')
    .addOption(new Option('--engine <name>', 'what trains').choices(['ort']).default('ort'));
  return withCommonOptions(withModelOptions(withWatchOptions(finetune))).action(
    async (model: string, common: Options) => {
      const unused = !common.teacher && '--teacher';
      const given = givenOf(finetune, options);
      const deciding: Deciding = { ...finetune.opts(), ...withPreset(given) };
      const { optimizer, schedule, erase, qat, scheme, weights, distillKind } = deciding;
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
      });
      const { finetuneModel } = await import('../../pipeline/commands/finetune.node.ts');
      const progress = await progressFor(common);
      const result = await watched(common, progress, (watcher) =>
        interruptible((signal) =>
          finetuneModel(model, common.output, given, { ...common, progress, signal, watcher }),
        ),
      );
      print(common, result, () => formatFinetuned(result, common.output));
    },
  );
}
