import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** A change of a checkout: a new file, or a replacement in an old one. */
export type Edit =
  | { readonly file: string; readonly content: string }
  | { readonly file: string; readonly find: string; readonly replace: string };

/**
 * Copies the sources into a folder, changes them, and builds them as `npm run build` does.
 * @returns the command line of the copy
 */
export function scratchCheckout(folder: string, edits: readonly Edit[]): string {
  for (const name of ['src', 'scripts', 'package.json', 'tsconfig.json', 'tsconfig.build.json']) {
    cpSync(join(root, name), join(folder, name), { recursive: true });
  }
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'), 'junction');
  for (const edit of edits) {
    const path = join(folder, edit.file);
    if ('content' in edit) {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, edit.content);
      continue;
    }
    const text = readFileSync(path, 'utf8');
    if (!text.includes(edit.find)) throw new Error(`${edit.file} has no "${edit.find}"`);
    writeFileSync(path, text.replace(edit.find, edit.replace));
  }
  const run = (file: string, ...args: string[]) =>
    execFileSync(process.execPath, [file, ...args], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  run(join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.build.json');
  run(join('scripts', 'copy-data.mjs'));
  return join(folder, 'dist', 'cli', 'main.js');
}
