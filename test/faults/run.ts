import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const inject = new URL('inject.mjs', import.meta.url).href;

/** Runs the built command line with a fault. */
export function faulty(fault: string, args: readonly string[], counts?: string) {
  return spawnSync(process.execPath, ['--import', inject, main, ...args], {
    encoding: 'utf8',
    env: { ...process.env, PQV_FAULT: fault, ...(counts ? { PQV_FAULT_COUNTS: counts } : {}) },
  });
}

export interface Counts {
  rename: number;
  write: number;
  /** The first and the last write into each file that was opened, in their order. */
  files: { first: number; last: number }[];
}

/** How often a command renames and writes. */
export function counted(args: readonly string[], file: string): Counts {
  const { status, stderr } = faulty('count', args, file);
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(readFileSync(file, 'utf8'));
}

/** Weights, graphs and artifacts of a run; times are in none of them. */
export function resultsOf(run: string): Record<string, string> {
  const names = ['pruned/model.safetensors', 'finetuned/model.safetensors', 'quantized/model.onnx'];
  const files = [...names, 'artifacts/model.onnx'].filter((name) => existsSync(join(run, name)));
  return Object.fromEntries(files.map((name) => [name, readFileSync(join(run, name), 'base64')]));
}

/** What only a process in the middle of its work leaves. */
export const leftoversOf = (folder: string): string[] =>
  (readdirSync(folder, { recursive: true }) as string[]).filter((name) =>
    /\.tmp$|(^|\/)\.|run\.lock$|pending\.json$/.test(name),
  );
