/**
 * Bundles the page with all that it loads into a folder of static files, for any web server:
 *
 *     npm install pqv-mobile onnxruntime-web esbuild
 *     node build.mjs [DIR]           # default: site
 *     npx esbuild --servedir=site    # and open http://localhost:8000
 */
import { copyFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const site = process.argv[2] ?? 'site';
const { resolve } = createRequire(import.meta.url);

await build({
  entryPoints: [join(here, 'main.js')],
  outdir: site,
  bundle: true,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  minify: true,
});
const wasm = 'ort-wasm-simd-threaded.wasm';
await copyFile(join(here, 'index.html'), join(site, 'index.html'));
await copyFile(join(dirname(resolve('onnxruntime-web/wasm')), wasm), join(site, wasm));
await copyFile(resolve('pqv-mobile/timm-models.json'), join(site, 'timm-models.json'));
