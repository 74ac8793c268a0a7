#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { InterruptedError, UserError } from '../common/errors.ts';
import { commands } from './commands/index.ts';

const exitCodes = { done: 0, internal: 1, user: 2, interrupted: 130 } as const;

function version(): string {
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}

/** @param wanted the command that is named; without one, all are there for help and suggestions */
async function program(wanted: string | undefined): Promise<Command> {
  const root = new Command('pqv')
    .description(
      'Make Vision Transformers small and fast for phones, browsers and edge boxes, and measure it.',
    )
    .version(version())
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({
      outputError: (text, write) => write(`pqv: ${text.trim().replace(/\s*\n\s*/g, ' ')}\n`),
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

/** One line for the user and the exit code that goes with it. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.user;
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof InterruptedError) {
    process.stderr.write(`pqv: interrupted: ${message}\n`);
    return exitCodes.interrupted;
  }
  const user = error instanceof UserError;
  process.stderr.write(`pqv: ${user ? 'error' : 'internal error'}: ${message.split('\n')[0]}\n`);
  if (process.env.PQV_DEBUG) process.stderr.write(`${(error as Error).stack}\n`);
  else if (!user) process.stderr.write('pqv: set PQV_DEBUG=1 to see where it happened\n');
  return user ? exitCodes.user : exitCodes.internal;
}

try {
  const root = await program(process.argv[2]);
  await root.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}
