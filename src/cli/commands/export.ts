import { type Command, Option } from 'commander';
import { formats, forms } from '../../pipeline/recipe.ts';
import { formatArtifact } from '../format.ts';
import { type CommonOptions, command, print, withCommonOptions } from '../options.ts';

interface Options extends CommonOptions {
  output: string;
  format: (typeof formats)[number];
  form?: (typeof forms)[number];
  xnnpack?: boolean;
  arch?: string;
}

export function exportCommand(): Command {
  const write = command(
    'export',
    'Write the file that a runtime loads, and check it: by running it where a runtime is at hand.',
    [
      'pqv export runs/demo/quantized --format onnx -o model.onnx',
      'pqv export runs/demo/quantized --format onnx --form qdq -o portable.onnx',
      'pqv export runs/demo/quantized --format ort -o model.ort',
      'pqv export runs/demo/quantized --format ptl -o model.ptl',
    ],
  )
    .argument('<model>', 'folder, .onnx file, or checkpoint file with --arch')
    .requiredOption('-o, --output <file>', 'file to write')
    .addOption(new Option('--format <name>', 'file format').choices(formats).makeOptionMandatory())
    .addOption(
      new Option(
        '--form <name>',
        'int8 layers in ONNX: fused (fastest on ONNX Runtime), integer (standard operators), qdq',
      ).choices(forms),
    )
    .option('--xnnpack', 'PyTorch Lite with prepacked layers, for builds with XNNPACK (Android)')
    .option('--arch <name>', 'architecture of a bare checkpoint file');
  return withCommonOptions(write).action(async (model: string, options: Options) => {
    const { exportModel } = await import('../../pipeline/models.node.ts');
    const artifact = await exportModel(model, options.format, options.output, options);
    print(options, artifact, () => formatArtifact(artifact));
  });
}
