import { type Command, Option } from 'commander';
import { dataForms } from '../../dataset/data-forms.ts';
import { backends, observers, schemes } from '../../pipeline/recipe.node.ts';
import { formatQuantized } from '../format.ts';
import {
  type CommonOptions,
  command,
  parse,
  print,
  progressFor,
  warnUnused,
  withCommonOptions,
} from '../options.ts';

interface Options extends CommonOptions {
  output: string;
  dtype: 'int8' | 'fp16';
  io: 'float32' | 'float16';
  scheme: (typeof schemes)[number];
  backend: (typeof backends)[number];
  observer: (typeof observers)[number];
  data?: string;
  samples: number;
  arch?: string;
}

export function quantizeCommand(): Command {
  const quantize = command('quantize', 'Turn FP32 weights into int8 or FP16.', [
    'pqv quantize tuned/ -o int8/ --dtype int8',
    'pqv quantize tuned/ -o int8/ --dtype int8 --scheme static --data imagenet/',
    'pqv quantize tuned/ -o phone/ --dtype int8 --backend qnnpack',
    'pqv quantize tuned/ -o half/ --dtype fp16',
  ])
    .argument('<model>', 'folder, .onnx file, or checkpoint file with --arch')
    .requiredOption('-o, --output <dir>', 'folder to write')
    .addOption(new Option('--dtype <type>', 'number type').choices(['int8', 'fp16']).default('int8'))
    .addOption(
      new Option('--io <type>', 'type of the inputs and outputs of an FP16 model')
        .choices(['float32', 'float16'])
        .default('float32'),
    )
    .addOption(
      new Option('--scheme <how>', 'activation ranges found at run time (dynamic) or by calibration (static)')
        .choices(schemes)
        .default('dynamic'),
    )
    .addOption(
      new Option('--backend <name>', 'whose int8 arithmetic the numbers are made for')
        .choices(backends)
        .default('mlas'),
    )
    .addOption(
      new Option('--observer <how>', 'how a static range follows from what was seen')
        .choices(observers)
        .default('mse'),
    )
    .option('--data <data>', `images for calibration: ${dataForms}`)
    .option('--samples <n>', 'images for calibration', parse.integer(1), 128)
    .option('--arch <name>', 'architecture of a bare checkpoint file');
  return withCommonOptions(quantize).action(async (model: string, options: Options) => {
    const { dtype, scheme } = options;
    const calibrated = dtype === 'fp16' || scheme === 'static';
    warnUnused(quantize, {
      io: dtype === 'int8' && '--dtype fp16',
      backend: dtype === 'fp16' && '--dtype int8',
      scheme: dtype === 'fp16' && '--dtype int8',
      observer: !(dtype === 'int8' && scheme === 'static') && '--scheme static',
      data: !calibrated && '--scheme static or --dtype fp16',
      samples: !(calibrated && options.data) && '--data',
    });
    const { quantizeModel } = await import('../../pipeline/models.node.ts');
    const result = await quantizeModel(model, { ...options, progress: await progressFor(options) });
    print(options, result, () => formatQuantized(result, options.output));
  });
}
