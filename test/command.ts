import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs the built command line, as a user does. */
export function pqv(...args: string[]): Promise<Outcome> {
  return pqvInterruptible(args).finished;
}

/** Runs another build's command line. */
export function pqvOf(built: string, ...args: string[]): Promise<Outcome> {
  return pqvInterruptible(args, built).finished;
}

/** Runs it in an environment of its own. */
export function pqvIn(env: NodeJS.ProcessEnv, ...args: string[]): Promise<Outcome> {
  return pqvInterruptible(args, main, env).finished;
}

/** The same, with a handle to interrupt it. */
export function pqvInterruptible(
  args: readonly string[],
  built = main,
  env = process.env,
): {
  finished: Promise<Outcome>;
  interrupt(signal?: NodeJS.Signals): void;
  output(): string;
} {
  const child = spawn(process.execPath, [built, ...args], { stdio: ['ignore', 'pipe', 'pipe'], env });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const finished = new Promise<Outcome>((resolve) => {
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });
  return { finished, interrupt: (signal = 'SIGINT') => void child.kill(signal), output: () => stderr };
}

/** A folder that is gone after the tests of the file. */
export function scratch(): (...parts: string[]) => string {
  const folder = mkdtempSync(join(tmpdir(), 'pqv-test-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return (...parts) => join(folder, ...parts);
}

/** A ViT small enough that every stage of it takes a moment. */
export const tinyArgs = [
  'vit_tiny_patch16_224',
  '--num-classes',
  '10',
  '--model-args',
  JSON.stringify({ img_size: 28, in_chans: 1, patch_size: 7, embed_dim: 32, depth: 2, num_heads: 2 }),
] as const;
