import type { Command } from 'commander';
import { optionsOf } from '../../common/options.ts';
import { preprocessingOptions } from '../../dataset/preprocessing-options.ts';
import {
  type CommonOptions,
  command,
  parse,
  print,
  progressFor,
  withCommonOptions,
  withDataOptions,
  withProvider,
} from '../options.ts';
import { addOptions } from '../schema-options.ts';

interface Options extends CommonOptions {
  data?: string;
  samples: number;
}

export function compareCommand(): Command {
  const compare = command('compare', 'Compare the outputs of two models on the same inputs.', [
    'pqv compare deit/ exported.onnx',
    'pqv compare runs/demo/dense runs/demo/quantized --data mnist',
  ])
    .argument('<a>', 'the reference model')
    .argument('<b>', 'the model to compare with it')
    .option('--samples <n>', 'inputs to compare on', parse.integer(1), 16);
  withDataOptions(compare, 'images to use instead of random inputs');
  return withCommonOptions(withProvider(addOptions(compare, optionsOf(preprocessingOptions)))).action(
    async (a: string, b: string, options: Options) => {
      const { compareFiles } = await import('../../pipeline/commands/compare.node.ts');
      const result = await compareFiles(a, b, { ...options, progress: await progressFor(options) });
      print(options, result, () =>
        [
          `largest difference   ${result.maxAbs.toPrecision(4)}`,
          `relative             ${result.relative.toPrecision(4)}`,
          ...(result.agreement === null
            ? result.outputs.map(({ name, relative }) => `  ${name}: ${relative.toPrecision(4)} relative`)
            : [`same prediction      ${(100 * result.agreement).toFixed(2)} %`]),
        ].join('\n'),
      );
    },
  );
}
