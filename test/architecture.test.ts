import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../src', import.meta.url));

/** The folders of docs/architecture.md, from the roof to the ground. */
function floors(): string[] {
  const page = readFileSync(new URL('../docs/architecture.md', import.meta.url), 'utf8');
  const [, house] = page.split('```');
  return [...house!.matchAll(/^ {2}(\w+)\/ /gm)].map((match) => match[1]!);
}

function* imports(): Generator<{ file: string; from: string; to: string }> {
  for (const entry of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
    if (!entry.endsWith('.ts') || entry.endsWith('.test.ts') || entry.startsWith('cli')) continue;
    const text = readFileSync(join(root, entry), 'utf8');
    for (const [, path] of text.matchAll(/from '(\.[^']+)'/g)) {
      const target = relative(root, resolve(root, dirname(entry), path!));
      const folder = (name: string) => (name.includes(sep) ? name.split(sep)[0]! : '');
      yield { file: entry, from: folder(entry), to: folder(target) };
    }
  }
}

it('knows every folder of the source', () => {
  const folders = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  expect(floors().sort()).toEqual(folders.map(({ name }) => name).sort());
});

it('has arrows that only go downwards', () => {
  const order = floors();
  const upward = [...imports()].filter(
    ({ from, to }) => to !== '' && from !== to && order.indexOf(to) < order.indexOf(from),
  );
  expect(upward.map(({ file, to }) => `${file} -> ${to}`)).toEqual([]);
});
