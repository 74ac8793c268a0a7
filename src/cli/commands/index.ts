import type { Command } from 'commander';

/**
 * The commands, in the order help lists them: the whole job first, then its steps. Each is loaded when it
 * is asked for, with the passes whose options it has.
 */
export const commands: Readonly<Record<string, () => Promise<Command>>> = {
  optimize: async () => (await import('./optimize.ts')).optimizeCommand(),
  init: async () => (await import('./init.ts')).initCommand(),
  list: async () => (await import('./list.ts')).listCommand(),
  inspect: async () => (await import('./inspect.ts')).inspectCommand(),
  eval: async () => (await import('./eval.ts')).evalCommand(),
  prune: async () => (await import('./prune.ts')).pruneCommand(),
  finetune: async () => (await import('./finetune.ts')).finetuneCommand(),
  sensitivity: async () => (await import('./sensitivity.ts')).sensitivityCommand(),
  quantize: async () => (await import('./quantize.ts')).quantizeCommand(),
  export: async () => (await import('./export.ts')).exportCommand(),
  sweep: async () => (await import('./sweep.ts')).sweepCommand(),
  bench: async () => (await import('./bench.ts')).benchCommand(),
  compare: async () => (await import('./compare.ts')).compareCommand(),
  lab: async () => (await import('./lab.ts')).labCommand(),
  report: async () => (await import('./report.ts')).reportCommand(),
};
