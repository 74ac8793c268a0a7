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

/** Source files by their path under `src/`, tests apart. */
const sources = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(
  (entry) => entry.endsWith('.ts') && !entry.endsWith('.test.ts'),
);

/** What each file imports of the project itself, types included. */
const imports = new Map(
  sources.map((file) => {
    const text = readFileSync(join(root, file), 'utf8');
    const paths = [...text.matchAll(/(?:from|import\() ?'(\.[^']+)'/g)].map(([, path]) => path!);
    return [file, paths.map((path) => relative(root, resolve(root, dirname(file), path)))];
  }),
);

const edges = [...imports].flatMap(([file, targets]) => targets.map((target) => [file, target] as const));

/** The folder of a file; nothing for the root, which stands above all: it is what others import. */
const folder = (file: string) => (file.includes(sep) ? file.split(sep)[0]! : '');

it('knows every folder of the source', () => {
  const folders = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  expect(floors().sort()).toEqual(folders.map(({ name }) => name).sort());
});

it('has arrows that only go downwards', () => {
  const order = ['', ...floors()];
  const upward = edges.filter(([from, to]) => order.indexOf(folder(to)) < order.indexOf(folder(from)));
  expect(upward.map((edge) => edge.join(' -> '))).toEqual([]);
});

it('has no file of more than 400 lines but generated ones', () => {
  const long = sources
    .filter((file) => !file.split(sep).includes('generated'))
    .filter((file) => readFileSync(join(root, file), 'utf8').split('\n').length > 401);
  expect(long).toEqual([]);
});

/** Who may look at attributes as they lie in a file: the graph itself, the schema, the codec. */
const attributesBelong = /^(graph\/(schema\/\w+|clone|links|raise-opset|traversal)|onnx\/\w+)\.ts$/;

it('reads no attribute by its name outside the schema', () => {
  const readers = sources.filter((file) => {
    const text = readFileSync(join(root, file), 'utf8');
    return /\battributes\.(get|has)\(/.test(text) && !attributesBelong.test(file.replaceAll(sep, '/'));
  });
  expect(readers).toEqual([]);
});

it('has no import circle, types included', () => {
  const state = new Map<string, 'open' | 'done'>();
  const circles: string[] = [];
  const visit = (file: string, path: readonly string[]) => {
    if (state.get(file) === 'open') circles.push([...path.slice(path.indexOf(file)), file].join(' -> '));
    if (state.has(file)) return;
    state.set(file, 'open');
    for (const target of imports.get(file) ?? []) visit(target, [...path, file]);
    state.set(file, 'done');
  };
  for (const file of sources) visit(file, []);
  expect(circles).toEqual([]);
});

/** Examples in comments and in the help of options are not knowledge. */
it('names the modules of an architecture only where families and their layers are', () => {
  const names =
    /\b(blocks\.[\d$\\]|(cls|dist|reg|mask)_token|pos_embed|patch_embed|head(_dist)?\.(weight|bias)|qkv|q_norm|norm1|fc1|attn)\b/;
  const known = sources.filter((file) => {
    if (file.startsWith(join('zoo', 'families')) || file.startsWith(join('zoo', 'layers'))) return false;
    if (file.startsWith(join('zoo', 'transformers'))) return false;
    const code = readFileSync(join(root, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
    return names.test(code.replace(/description: '[^']*'/g, ''));
  });
  expect(known).toEqual([]);
});

it('is used by its own examples, benchmarks and judges as by everybody: through the package entries', () => {
  const scripts = ['examples', 'bench', 'conformance'].flatMap((name) => {
    const path = fileURLToPath(new URL(`../${name}`, import.meta.url));
    return readdirSync(path, { recursive: true, encoding: 'utf8' })
      .filter((entry) => /\.m?js$/.test(entry))
      .map((entry) => join(path, entry));
  });
  expect(scripts.length).toBeGreaterThan(10);
  const inside = scripts.filter((file) => /['"/](?:dist|src)\//.test(readFileSync(file, 'utf8')));
  expect(inside.map((file) => relative(root, file))).toEqual([]);
});
