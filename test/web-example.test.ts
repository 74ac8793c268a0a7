import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { delimiter, extname, join } from 'node:path';
import { build } from 'esbuild';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  compare,
  exportModel,
  type Graph,
  loadModel,
  onnxruntime,
  prune,
  quantize,
  readModel,
  saveModel,
} from '../src/node.ts';
import { scratch } from './command.ts';
import { install, pack } from './packed.ts';

const at = scratch();
const site = at('site');
const model = 'examples/mnist_vit';

/** A Chromium of this machine, if it has one. */
const browserPath = (process.env.PATH ?? '')
  .split(delimiter)
  .flatMap((folder) => ['chromium', 'chromium-browser', 'google-chrome'].map((name) => join(folder, name)))
  .find((path) => existsSync(path));

beforeAll(() => {
  const installed = install(pack(at()), at('app'), ['onnxruntime-web', 'esbuild']);
  for (const name of readdirSync(join(installed, 'examples/web'))) {
    copyFileSync(join(installed, 'examples/web', name), at('app', name));
  }
  execFileSync(process.execPath, ['build.mjs', site], { cwd: at('app') });
});

it('is bundled from the packed package, without any module of Node', async () => {
  expect(readdirSync(site).sort()).toEqual(
    ['index.html', 'main.js', 'ort-wasm-simd-threaded.wasm', 'timm-models.json'].sort(),
  );
  // ONNX Runtime Web's own code asks whether it runs on Node; ours does not.
  const { outputFiles, metafile } = await build({
    entryPoints: [at('app/main.js')],
    bundle: true,
    format: 'esm',
    platform: 'browser',
    external: ['onnxruntime-web/wasm'],
    write: false,
    metafile: true,
    logLevel: 'silent',
  });
  const imports = Object.values(metafile.outputs).flatMap((output) => output.imports.map(({ path }) => path));
  expect(imports).toEqual(['onnxruntime-web/wasm']);
  expect(/["'`]node:/.test(outputFiles[0]!.text)).toBe(false);
  expect(Object.keys(metafile.inputs).filter((path) => path.includes('.node.'))).toEqual([]);
});

const types: Record<string, string> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
};

describe.skipIf(!browserPath)('in a browser', () => {
  let server: Server;
  let browser: Browser;
  let page: Page;
  const complaints: string[] = [];

  beforeAll(async () => {
    saveModel(await loadModel(model), at('model'));
    server = createServer((request, response) => {
      const name = request.url === '/' ? 'index.html' : request.url!.slice(1);
      if (!readdirSync(site).includes(name)) return response.writeHead(404).end();
      return response
        .writeHead(200, { 'content-type': types[extname(name)]! })
        .end(readFileSync(join(site, name)));
    }).listen(0, '127.0.0.1');
    browser = await chromium.launch({
      executablePath: browserPath!,
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    });
    page = await browser.newPage();
    page.on('pageerror', (error) => complaints.push(error.message));
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  });

  afterAll(async () => {
    await browser?.close();
    server?.close();
  });

  /** The bytes that the page offers for download. */
  async function madeSmall({ ratio, int8 }: { ratio: number; int8: boolean }): Promise<Buffer> {
    await page.locator('#ratio').fill(String(ratio));
    await page.locator('#int8').setChecked(int8);
    await page.locator('button').click();
    const link = page.locator('#result a');
    await link.or(page.locator('[role=alert]:not(:empty)')).waitFor();
    expect(await page.locator('[role=alert]').textContent()).toBe('');
    const [download] = await Promise.all([page.waitForEvent('download'), link.click()]);
    expect(download.suggestedFilename()).toBe('model.onnx');
    return readFileSync(await download.path());
  }

  const exported = async (graph: Graph) =>
    Buffer.from((await exportModel(onnxruntime, graph, { format: 'onnx' })).bytes);

  it.each([
    ['an ONNX file', ['model.onnx']],
    ['a checkpoint with its configuration', ['config.json', 'model.safetensors']],
  ])("prunes %s to Node's very bytes", async (_, names) => {
    await page.locator('#files').setInputFiles(names.map((name) => at('model', name)));
    await page.locator('#model:not(:empty), [role=alert]:not(:empty)').waitFor();
    expect(await page.locator('[role=alert]').textContent()).toBe('');
    const found = await madeSmall({ ratio: 0.25, int8: false });
    const { graph } = await prune(onnxruntime, await loadModel(model), { ratio: 0.25, importance: 'l1' });
    expect(found.equals(await exported(graph))).toBe(true);
  });

  it('quantizes', async () => {
    const found = await madeSmall({ ratio: 0.25, int8: true });
    const { graph } = await prune(onnxruntime, await loadModel(model), { ratio: 0.25, importance: 'l1' });
    const int8 = await quantize(onnxruntime, graph, { dtype: 'int8' });
    // The engines add up in another order where weights are chosen: the same layers, nearly the same numbers.
    expect(Math.abs(found.length / (await exported(int8)).length - 1)).toBeLessThan(0.001);
    const { relative } = await compare(onnxruntime, int8, readModel({ 'model.onnx': found }));
    expect(relative).toBeLessThan(0.02);
    expect(complaints).toEqual([]);
  });
});
