import type { Command } from 'commander';
import { optionsOf } from '../../common/options.ts';
import { quantizeStage } from '../../pipeline/stages/quantize.node.ts';
import type { QuantizeOptions } from '../../quantize/quantize.ts';
import { formatQuantized } from '../format.ts';
import {
  type CommonOptions,
  command,
  print,
  progressFor,
  warnUnused,
  withCommonOptions,
  withDataOptions,
  withModelOptions,
} from '../options.ts';
import { addOptions, valuesOf } from '../schema-options.ts';

interface Options extends CommonOptions, QuantizeOptions {
  maxDrop?: number;
  preset?: string;
  migrate?: boolean;
  correctBias?: boolean;
  learnRounding?: boolean;
  output: string;
  data?: string;
}

export function quantizeCommand(): Command {
  const quantize = command('quantize', 'Turn FP32 weights into int8, int4 or FP16.', [
    'pqv quantize tuned/ -o int8/ --dtype int8',
    'pqv quantize tuned/ -o int8/ --dtype int8 --scheme static --data imagenet/',
    'pqv quantize tuned/ -o int8/ --preset accurate --data imagenet/',
    'pqv quantize tuned/ -o int8/ --max-drop 0.5 --data imagenet/',
    'pqv quantize tuned/ -o phone/ --dtype int8 --backend qnnpack',
    'pqv quantize tuned/ -o half/ --dtype fp16',
    'pqv quantize tuned/ -o small/ --dtype int4 --block-size 32',
    'pqv quantize tuned/ -o small/ --dtype int4 --learn-rounding --data imagenet/',
    'pqv quantize tuned/ -o tried/ --dtype int4 --activations int4 --learn-rounding --data imagenet/',
  ])
    .argument('<model>', 'folder, .onnx file, name on the Hub, or checkpoint file with --arch')
    .requiredOption('-o, --output <dir>', 'folder to write');
  const options = optionsOf(quantizeStage.options);
  withDataOptions(addOptions(quantize, options), 'images for calibration and --max-drop');
  return withCommonOptions(withModelOptions(quantize)).action(async (model: string, common: Options) => {
    warnUnused(quantize, unusedWith(common));
    const { quantizeModel } = await import('../../pipeline/commands/quantize.node.ts');
    const command = { ...common, progress: await progressFor(common) };
    const result = await quantizeModel(model, common.output, valuesOf(quantize, options), command);
    print(common, result, () => formatQuantized(result, common.output));
  });
}

/** What has no effect beside the other options, and what it goes with. */
function unusedWith(options: Options): Record<string, string | false> {
  const { dtype, scheme, weights, compute, maxDrop, data, learnRounding } = options;
  const only = (wanted: string) => dtype !== wanted && `--dtype ${wanted}`;
  const [int8, int4, fp16] = [only('int8'), only('int4'), only('fp16')];
  const isStatic = dtype === 'int8' && scheme === 'static';
  const prepared =
    (dtype === 'int8' && options.preset === 'accurate') ||
    (dtype !== 'fp16' && (options.migrate || options.correctBias));
  const calibrated = prepared || isStatic || (dtype === 'fp16' && compute === 'float16');
  return {
    ...{ scheme: int8, backend: int8, weights: int8, preset: int8 },
    ...{ ignore: dtype === 'fp16' && '--dtype int8', blockSize: int4, activations: int4 },
    assumeVnni: int8 || (weights === 'torch' && '--weights safe'),
    ...{ io: fp16, compute: fp16 },
    observer: !isStatic && '--scheme static',
    data:
      !(calibrated || learnRounding) &&
      maxDrop === undefined &&
      '--scheme static, --preset accurate, --learn-rounding, --dtype fp16 or --max-drop',
    dropOf: maxDrop === undefined && '--max-drop',
    dropSamples: maxDrop === undefined && '--max-drop',
    learnSteps: !learnRounding && '--learn-rounding',
    learnSamples: !learnRounding && '--learn-rounding',
    samples: !(calibrated && data) && '--data',
  };
}
