import type { Command } from 'commander';
import { type CommonOptions, command, print, withCommonOptions } from '../options.ts';

export function reportCommand(): Command {
  const report = command('report', 'Rebuild report.html from a run directory, and print its table.', [
    'pqv report runs/demo',
  ]).argument('<dir>', 'a run directory of pqv optimize');
  return withCommonOptions(report).action(async (directory: string, options: CommonOptions) => {
    const { rebuildReport } = await import('../../pipeline/optimize.node.ts');
    const run = await rebuildReport(directory);
    print(options, run.report, () => `${run.table}\n\n${run.html}`);
  });
}
