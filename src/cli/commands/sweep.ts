import type { Command } from 'commander';
import { optionsOf } from '../../common/options.ts';
import { sweepOptions } from '../../pipeline/sweep/sweep-options.ts';
import { formatBytes, formatMilliseconds } from '../../report/format.ts';
import { shortfallText } from '../../report/sweep/budget.ts';
import type { Sweep } from '../../report/sweep/sweep.ts';
import { top1Text, wayText } from '../../report/sweep/words.ts';
import { columns } from '../columns.ts';
import {
  type CommonOptions,
  command,
  interruptible,
  print,
  progressFor,
  withCommonOptions,
  withDataOptions,
  withModelOptions,
} from '../options.ts';
import { addOptions, valuesOf } from '../schema-options.ts';

interface Options extends CommonOptions {
  data: string;
  output: string;
  resume?: boolean;
}

export function sweepCommand(): Command {
  const sweep = command(
    'sweep',
    'Try ratios, importances, compensations and number types with each other, and measure what each leaves.',
    [
      'pqv sweep deit/ -o sweeps/deit --data imagenet/ --ratios 0.1,0.2,0.3 --importance l1,taylor --compensate none,ridge',
      'pqv sweep deit/ -o sweeps/deit --data imagenet/ --seeds 3 --resume',
      'pqv sweep deit/ -o sweeps/deit --data imagenet/ --max-drop 1 --eval-samples 2000',
    ],
  )
    .argument('<model>', 'folder, .onnx file, name on the Hub, or checkpoint file with --arch')
    .requiredOption('-o, --output <dir>', 'folder to write');
  withDataOptions(sweep);
  const options = optionsOf(sweepOptions);
  addOptions(sweep, options).option('--resume', 'take over what an earlier sweep has measured');
  return withCommonOptions(withModelOptions(sweep)).action(async (model: string, common: Options) => {
    const { sweepModel } = await import('../../pipeline/sweep/sweep.node.ts');
    const progress = await progressFor(common);
    const given = valuesOf(sweep, options);
    const result = await interruptible((signal) =>
      sweepModel(model, common.output, given, { ...common, progress, signal }),
    );
    print(common, result, () => formatSweep(result, common.output));
  });
}

function formatSweep(
  { dense, rows, front, best, nearest, shortfall, measuredOn }: Sweep,
  output: string,
): string {
  const table = columns(
    ['model', 'top-1 %', 'points', 'latency', 'file', 'GMACs', ''],
    [dense, ...rows].map((row) => [
      wayText(row),
      top1Text(row),
      (100 * (row.top1 - dense.top1)).toFixed(2),
      row.latencyMs === null ? '' : formatMilliseconds(row.latencyMs),
      formatBytes(row.bytes),
      (row.macs / 1e9).toPrecision(3),
      row === best ? 'best' : front.includes(row) ? 'front' : '',
    ]),
  );
  const lines = [table, `on ${dense.samples} images of ${measuredOn}`];
  if (best) lines.push(`best under the budget: ${wayText(best)}, in ${output}/best`);
  if (nearest) {
    lines.push(`nothing meets the budget; the nearest is ${wayText(nearest)}: ${shortfallText(shortfall)}`);
  }
  return [...lines, `${output}/sweep.html`].join('\n');
}
