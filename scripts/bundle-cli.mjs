#!/usr/bin/env node
/**
 * Puts the command line into a few files, in place of its compiled entry: finding and reading hundreds of modules one by one is half
 * of what a short command takes. The libraries that every command loads go in, with their licences beside; others are loaded as before.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('../', import.meta.url));
const within = ['@bufbuild/protobuf', 'commander', 'zod'];
const manifest = (folder) => JSON.parse(readFileSync(`${folder}package.json`, 'utf8'));
const { dependencies, devDependencies } = manifest(root);

rmSync(`${root}dist/bundled`, { recursive: true, force: true });
await build({
  absWorkingDir: root,
  entryPoints: { 'cli/main': 'src/cli/main.ts' },
  outdir: 'dist',
  // As deep as a folder of the compiled source, so that they find files by the same relative paths.
  chunkNames: 'bundled/[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  external: Object.keys({ ...dependencies, ...devDependencies }).filter((name) => !within.includes(name)),
  banner: {
    js: "import { createRequire as requireOf } from 'node:module';\nconst require = requireOf(import.meta.url);",
  },
  sourcemap: true,
  sourcesContent: false,
  logLevel: 'warning',
});

const licences = within.map((name) => {
  const folder = `${root}node_modules/${name}/`;
  const { version, license } = manifest(folder);
  const text = existsSync(`${folder}LICENSE`) ? `\n\n${readFileSync(`${folder}LICENSE`, 'utf8').trim()}` : '';
  return `${name} ${version}: ${license}${text}\n`;
});
writeFileSync(`${root}dist/bundled/LICENSES.txt`, licences.join(`\n${'-'.repeat(70)}\n\n`));
