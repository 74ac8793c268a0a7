import { availableParallelism } from 'node:os';
import { Command, InvalidArgumentError, Option } from 'commander';
import { InterruptedError } from '../common/errors.ts';
import { optionsOf } from '../common/options.ts';
import { type Progress, silent } from '../common/progress.ts';
import { dataForms } from '../dataset/data-forms.ts';
import { dataOptions } from '../dataset/data-options.ts';
import { type Provider, providers } from '../runtime/provider.ts';
import { loadOptions } from '../zoo/load-options.ts';
import { addOptions } from './schema-options.ts';

/** What every command takes. */
export interface CommonOptions {
  json?: boolean;
  threads: number;
  seed: number;
  quiet?: boolean;
  provider?: Provider;
}

/** Parsers for option values; each says what it wanted when it gets something else. */
export const parse = {
  integer(low: number, high = Number.MAX_SAFE_INTEGER) {
    return (text: string): number => {
      const value = Number(text);
      if (text.trim() === '' || !Number.isInteger(value) || value < low || value > high) {
        const range = high === Number.MAX_SAFE_INTEGER ? `of at least ${low}` : `from ${low} to ${high}`;
        throw new InvalidArgumentError(`It must be a whole number ${range}.`);
      }
      return value;
    };
  },

  json(text: string): Record<string, unknown> {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      value = undefined;
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new InvalidArgumentError('It must be a JSON object, such as \'{"img_size": 192}\'.');
    }
    return value as Record<string, unknown>;
  },
};

/** A command with the options that all have, and its examples below the help. */
export function command(name: string, summary: string, examples: readonly string[]): Command {
  return new Command(name)
    .description(summary)
    .addHelpText('after', `\nExamples:\n${examples.map((line) => `  $ ${line}`).join('\n')}`)
    .allowExcessArguments(false);
}

/** Adds what can be said of a model where it is read. */
export function withModelOptions(target: Command): Command {
  target.optionsGroup('Reading the model:');
  addOptions(target, optionsOf(loadOptions));
  return target.optionsGroup('Options:');
}

/** More threads than processors only wait for each other. */
function threads(text: string): number {
  const wanted = parse.integer(1)(text);
  const processors = availableParallelism();
  if (wanted <= processors) return wanted;
  process.stderr.write(
    `pqv: --threads ${wanted}: this machine has ${processors} processors, so ${processors} are used\n`,
  );
  return processors;
}

/** Adds `--data` and how it is read. @param wanted what the images are for; they must be given where nothing is said */
export function withDataOptions(target: Command, wanted?: string): Command {
  const data = new Option('--data <data>', wanted ? `${wanted}: ${dataForms}` : dataForms);
  if (!wanted) data.makeOptionMandatory();
  return addOptions(target.addOption(data), optionsOf(dataOptions));
}

/** Adds what the engine computes on. */
export function withProvider(target: Command): Command {
  const about =
    'what the engine computes on, where its build has it; what that has no kernels for runs on the CPU';
  return target.addOption(new Option('--provider <name>', about).choices(providers).default('cpu'));
}

/** Adds the common options; last, so that help lists them after the command's own. */
export function withCommonOptions(target: Command): Command {
  return target
    .addOption(
      new Option('--threads <n>', 'threads for the engine')
        .argParser(threads)
        .default(availableParallelism()),
    )
    .addOption(new Option('--seed <n>', 'seed of everything random').argParser(parse.integer(0)).default(0))
    .option('--json', 'print one JSON document on stdout')
    .option('--quiet', 'no progress on stderr');
}

/** Progress bars on stderr, or nothing with `--quiet`. */
export async function progressFor(options: CommonOptions): Promise<Progress> {
  if (options.quiet) return silent;
  const { terminalProgress } = await import('./progress-bar.ts');
  return terminalProgress();
}

/**
 * Says on stderr which of the given options have no effect beside the others.
 * @param reasons by option name; false where the option has an effect
 */
export function warnUnused(target: Command, reasons: Readonly<Record<string, string | false>>): void {
  for (const [name, reason] of Object.entries(reasons)) {
    if (reason && target.getOptionValueSource(name) === 'cli') {
      const flag = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
      process.stderr.write(`pqv: --${flag} has no effect: it goes with ${reason}\n`);
    }
  }
}

/** Prints the result: the JSON document, or the text made for people. */
export function print(options: CommonOptions, document: unknown, text: () => string): void {
  process.stdout.write(`${options.json ? JSON.stringify(document, null, 2) : text()}\n`);
}

/** Ctrl-C, a polite kill, and a terminal that was closed. */
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Runs work that Ctrl-C ends at a point it can be resumed from. A second Ctrl-C ends it at once.
 */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const stop = () => {
    if (controller.signal.aborted) process.exit(130);
    process.stderr.write('\npqv: stopping at the next safe point; press Ctrl-C again to stop at once\n');
    controller.abort(new InterruptedError('stopped by Ctrl-C'));
  };
  for (const signal of signals) process.on(signal, stop);
  try {
    return await work(controller.signal);
  } finally {
    for (const signal of signals) process.off(signal, stop);
  }
}
