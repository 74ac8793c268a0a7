#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { InterruptedError, UserError } from '../common/errors.ts';
import { fileError } from '../common/files.node.ts';
import { printable } from '../common/printable.ts';
import { version } from '../pipeline/version.node.ts';
import { commands } from './commands/index.ts';

const exitCodes = { done: 0, internal: 1, user: 2, interrupted: 130 } as const;

/** @param wanted the command that is named; without one, all are there for help and suggestions */
async function program(wanted: string | undefined): Promise<Command> {
  const root = new Command('pqv')
    .description(
      'Make Vision Transformers small and fast for phones, browsers and edge boxes, and measure it.',
    )
    .version(version)
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({
      outputError: (text, write) => write(`pqv: ${printable(text.trim().replace(/\s*\n\s*/g, ' '))}\n`),
    })
    .addHelpText(
      'after',
      `
Examples:
  $ pqv optimize timm-folder/ -o runs/mine --data photos/ --prune 0.25 --importance taylor \\
        --finetune-epochs 5 --dtype int8 --formats onnx,ort
  $ pqv inspect timm-folder/
  $ pqv bench runs/mine/dense runs/mine/quantized

Every command explains itself: pqv COMMAND --help`,
    );
  const named = wanted !== undefined && Object.hasOwn(commands, wanted) ? [wanted] : Object.keys(commands);
  for (const name of named) root.addCommand((await commands[name]!()).copyInheritedSettings(root));
  return root;
}

/** One line for the user and the exit code that goes with it. What the system says of a file is the user's to mend. */
function report(thrown: unknown): number {
  const error = fileError(thrown, (thrown as NodeJS.ErrnoException)?.path ?? 'a file');
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return exitCodes.done;
    tellMachine('user', printable(error.message.replace(/^error: /, '')));
    return exitCodes.user;
  }
  const message = printable((error instanceof Error ? error.message : String(error)).trim());
  const kind =
    error instanceof InterruptedError ? 'interrupted' : error instanceof UserError ? 'user' : 'internal';
  tellMachine(kind, message, error instanceof UserError ? error.file : undefined);
  process.stderr.write(`pqv: ${titles[kind]}: ${message}\n`);
  if (process.env.PQV_DEBUG) process.stderr.write(`${(error as Error).stack}\n`);
  else if (kind === 'internal') process.stderr.write('pqv: set PQV_DEBUG=1 to see where it happened\n');
  return exitCodes[kind];
}

const titles = { interrupted: 'interrupted', user: 'error', internal: 'internal error' } as const;

/** With `--json` an error is one document on stdout too. */
function tellMachine(code: keyof typeof titles, message: string, file?: string): void {
  if (!process.argv.includes('--json')) return;
  process.stdout.write(
    `${JSON.stringify({ error: { code, message, ...(file ? { file } : {}) } }, null, 2)}\n`,
  );
}

/** A reader that went away has seen enough; on a full disk the result is lost, and that is said. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(process.exitCode ?? exitCodes.done);
  const { message } = fileError(error, "can't write to standard output") as Error;
  process.stderr.write(`pqv: error: ${printable(message)}\n`);
  process.exit(exitCodes.user);
});
process.stderr.on('error', () => {});

try {
  const root = await program(process.argv[2]);
  await root.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}
