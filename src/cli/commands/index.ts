import type { Command } from 'commander';
import { benchCommand } from './bench.ts';
import { compareCommand } from './compare.ts';
import { evalCommand } from './eval.ts';
import { exportCommand } from './export.ts';
import { finetuneCommand } from './finetune.ts';
import { initCommand } from './init.ts';
import { inspectCommand } from './inspect.ts';
import { optimizeCommand } from './optimize.ts';
import { pruneCommand } from './prune.ts';
import { quantizeCommand } from './quantize.ts';
import { reportCommand } from './report.ts';

/** The commands, in the order help lists them: the whole job first, then its steps. */
export const commands: readonly (() => Command)[] = [
  optimizeCommand,
  initCommand,
  inspectCommand,
  evalCommand,
  pruneCommand,
  finetuneCommand,
  quantizeCommand,
  exportCommand,
  benchCommand,
  compareCommand,
  reportCommand,
];
