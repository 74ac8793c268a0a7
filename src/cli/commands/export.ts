import { type Command, Option } from 'commander';
import { optionsOf } from '../../common/options.ts';
import { formats } from '../../export/formats.node.ts';
import { appOptions } from '../../zoo/app-form.ts';
import { formatArtifact } from '../format.ts';
import {
  type CommonOptions,
  command,
  print,
  progressFor,
  withCommonOptions,
  withModelOptions,
} from '../options.ts';
import { addOptions, valuesOf } from '../schema-options.ts';

interface Options extends CommonOptions {
  output: string;
  format: string;
}

export function exportCommand(): Command {
  const write = command(
    'export',
    'Write the file that a runtime loads, and check it: by running it where a runtime is at hand.',
    [
      'pqv export runs/demo/quantized --format onnx -o model.onnx',
      'pqv export runs/demo/quantized --format onnx --form qdq -o portable.onnx',
      'pqv export runs/demo/quantized --format onnx --input pixels --scores probabilities -o app.onnx',
      'pqv export runs/demo/quantized --format ort -o model.ort',
      'pqv export runs/demo/quantized --format ptl -o model.ptl',
    ],
  )
    .argument('<model>', 'folder, .onnx file, name on the Hub, or checkpoint file with --arch')
    .requiredOption('-o, --output <file>', 'file to write')
    .addOption(
      new Option('--format <name>', 'file format')
        .choices(formats.map(({ name }) => name))
        .makeOptionMandatory(),
    );
  const formatOptions = optionsOfFormats();
  addOptions(write, formatOptions);
  return withCommonOptions(withModelOptions(write)).action(async (model: string, options: Options) => {
    const { exportModel } = await import('../../pipeline/commands/export.node.ts');
    const { output, format } = options;
    const command = { ...options, progress: await progressFor(options) };
    const artifact = await exportModel(model, output, format, valuesOf(write, formatOptions), command);
    print(options, artifact, () => formatArtifact(artifact));
  });
}

/** What any file can be told, and what its format; formats share an option of the same name. */
const optionsOfFormats = () => [
  ...new Map(
    [appOptions, ...formats.map((format) => format.options)]
      .flatMap(optionsOf)
      .map((option) => [option.key, option]),
  ).values(),
];
