import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { UserError } from '../common/errors.ts';
import { runners } from './runners.ts';

/** Something that is served as it is, whoever asks. */
export interface Asset {
  readonly type: string;
  /** Read when it is asked for. */
  content(): string | Uint8Array;
}

const types = {
  js: 'text/javascript; charset=utf-8',
  wasm: 'application/wasm',
  text: 'text/plain; charset=utf-8',
};

/** Of onnxruntime-web: the build for processors alone, and the one for WebGPU. */
const onnxruntimeFiles = [
  'ort.wasm.min.mjs',
  'ort-wasm-simd-threaded.mjs',
  'ort-wasm-simd-threaded.wasm',
  'ort.webgpu.min.mjs',
  'ort-wasm-simd-threaded.asyncify.mjs',
  'ort-wasm-simd-threaded.asyncify.wasm',
];

/**
 * All that a page is made of beside models, by its address: our own modules, and the runtimes that are installed. The table is
 * all that there is: an address that is not in it leads nowhere.
 * @param formats of the files that are measured; the runtimes for them must be installed
 * @throws UserError when one is not, saying how to install it
 */
export function assets(formats: ReadonlySet<string>): Map<string, Asset> {
  const table = new Map<string, Asset>();
  for (const [name, path] of ownModules(
    'lab/page/main.js',
    'lab/page/cell.js',
    'lab/page/timing-worker.js',
  )) {
    table.set(`code/${name}`, fileAsset(path, types.js));
  }
  // LiteRT.js loads its code by importScripts, which a module worker has not; a classic one may import modules.
  for (const [name, module] of [
    ['cell.js', 'cell.js'],
    ['timing.js', 'timing-worker.js'],
  ]) {
    table.set(name!, { type: types.js, content: () => `import('./code/lab/page/${module}');\n` });
  }
  if (formats.has('onnx')) addOnnxRuntime(table);
  if (formats.has('tflite')) addLiteRt(table);
  return table;
}

const fileAsset = (path: string, type: string): Asset => ({ type, content: () => readFileSync(path) });

/** Compiled modules from these on, by their path below the compiled source. */
function ownModules(...entries: string[]): Map<string, string> {
  const root = fileURLToPath(new URL('../', import.meta.url));
  // The source runs as it is in tests; browsers are given what the compiler made.
  const compiled = root.endsWith(`${sep}src${sep}`) ? join(root, '../dist') : root;
  const found = new Map<string, string>();
  const visit = (name: string) => {
    if (found.has(name)) return;
    const path = join(compiled, name);
    found.set(name, path);
    const text = readFileSync(path, 'utf8');
    for (const [, from] of text.matchAll(/(?:from|import) '(\.[^']+)'/g)) {
      visit(
        relative(compiled, resolve(dirname(path), from!))
          .split(sep)
          .join('/'),
      );
    }
  };
  for (const entry of entries) visit(entry);
  return found;
}

function addOnnxRuntime(table: Map<string, Asset>): void {
  const folder = join(packageFolder('onnxruntime-web'), 'dist');
  for (const name of onnxruntimeFiles) {
    table.set(`ort/${name}`, fileAsset(join(folder, name), name.endsWith('.wasm') ? types.wasm : types.js));
  }
}

function addLiteRt(table: Map<string, Asset>): void {
  const folder = packageFolder('@litertjs/core');
  const helper = packageFolder('@litertjs/wasm-utils', join(folder, 'package.json'));
  table.set('litert/index.js', {
    type: types.js,
    // Browsers find no packages by their names.
    content: () =>
      readFileSync(join(folder, 'dist/index.js'), 'utf8').replaceAll(
        '"@litertjs/wasm-utils"',
        '"./wasm-utils.js"',
      ),
  });
  table.set('litert/wasm-utils.js', fileAsset(join(helper, 'dist/index.js'), types.js));
  const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string };
  table.set('litert/version', { type: types.text, content: () => version });
  for (const name of readdirSync(join(folder, 'wasm'))) {
    if (!/\.(js|wasm)$/.test(name)) continue;
    table.set(
      `litert/wasm/${name}`,
      fileAsset(join(folder, 'wasm', name), name.endsWith('.wasm') ? types.wasm : types.js),
    );
  }
}

/** @throws UserError when a package is not installed */
function packageFolder(name: string, from: string = import.meta.url): string {
  const require = createRequire(from);
  for (const folder of require.resolve.paths(name) ?? []) {
    const path = join(folder, name);
    try {
      readFileSync(join(path, 'package.json'));
      return path;
    } catch {}
  }
  const format = runners.find(({ runtime }) => runtime === name)?.format;
  throw new UserError(
    `running ${format ? `.${format} files` : 'models'} in a browser needs the package ${name}, which is not installed; run: npm install ${name}`,
  );
}

/** Whether a package can be served. */
export function isInstalled(name: string): boolean {
  try {
    return packageFolder(name) !== '';
  } catch {
    return false;
  }
}
