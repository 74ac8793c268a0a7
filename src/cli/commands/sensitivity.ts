import type { Command } from 'commander';
import { optionsOf } from '../../common/options.ts';
import { sensitivityOptions } from '../../library/sensitivity.ts';
import type { LayerSensitivity, Sensitivity } from '../../measure/sensitivity.ts';
import { columns, count } from '../columns.ts';
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
import { addOptions, valuesOf } from '../schema-options.ts';

interface Options extends CommonOptions {
  data?: string;
  scheme?: string;
}

export function sensitivityCommand(): Command {
  const sensitivity = command('sensitivity', 'Rank layers by what int8 in each alone does to the outputs.', [
    'pqv sensitivity tuned/',
    'pqv sensitivity tuned/ --data imagenet/ --samples 64',
    'pqv sensitivity tuned/ --scheme static --data imagenet/ --json',
  ]).argument('<model>', 'folder, .onnx file, name on the Hub, or checkpoint file with --arch');
  const options = optionsOf(sensitivityOptions);
  withDataOptions(addOptions(sensitivity, options), 'images to try layers on in place of noise');
  return withCommonOptions(withModelOptions(sensitivity)).action(async (model: string, common: Options) => {
    warnUnused(sensitivity, { observer: common.scheme !== 'static' && '--scheme static' });
    const { rankLayers } = await import('../../pipeline/commands/sensitivity.node.ts');
    const progress = await progressFor(common);
    const given = valuesOf(sensitivity, options);
    const result = await interruptible((signal) => rankLayers(model, given, { ...common, progress, signal }));
    print(common, result, () => formatSensitivity(result, common.data !== undefined));
  });
}

function formatSensitivity({ layers, all, samples }: Sensitivity, images: boolean): string {
  const classifies = all.agreement !== null;
  const labelled = all.drop !== null;
  const row = (layer: Omit<LayerSensitivity, 'layer'>, name: string) => [
    name,
    count(layer.parameters),
    `${(100 * layer.relative).toFixed(2)} %`,
    ...(classifies ? [`${(100 * layer.agreement!).toFixed(2)} %`] : []),
    ...(labelled ? [layer.drop!.toFixed(2)] : []),
  ];
  const head = ['layer in int8', 'parameters', 'outputs change'];
  if (classifies) head.push('same class');
  if (labelled) head.push('top-1 lost');
  const table = columns(head, [...layers.map((layer) => row(layer, layer.layer)), row(all, 'all of them')]);
  return `${table}\non ${count(samples)} ${images ? 'held-out images' : 'images of noise'}`;
}
