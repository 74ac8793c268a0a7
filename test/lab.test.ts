import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { chromium } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { findChromium } from '../src/lab/browser.node.ts';
import {
  exportModelFile,
  loadModel,
  onnxruntime,
  optimizeModel,
  prune,
  quantize,
  saveModel,
  silent,
} from '../src/node.ts';
import { reportSchema } from '../src/report/schema.ts';
import { pqv, pqvInterruptible, scratch } from './command.ts';

const at = scratch();
const run = () => at('run');

beforeAll(async () => {
  const recipe = {
    model: 'examples/mnist_vit',
    data: 'mnist',
    evalSamples: 50,
    runs: 2,
    quantize: { dtype: 'int8' },
    formats: ['onnx', 'tflite'],
  };
  await optimizeModel(recipe, run(), { resume: false, progress: silent });
});

it('serves until Ctrl-C, and ends well', async () => {
  const lab = pqvInterruptible(['lab', run(), '--no-tflite']);
  await expect.poll(lab.output, { timeout: 60_000 }).toMatch(/open http:\/\/127\.0\.0\.1:\d+\/[\w-]{22}\//);
  const address = /open (\S+)/.exec(lab.output())![1]!;
  expect((await fetch(address)).status).toBe(200);
  lab.interrupt();
  const { code, stdout } = await lab.finished;
  expect([code, stdout]).toEqual([0, 'no device measured anything\n']);
  await expect(fetch(address)).rejects.toThrow();
});

it.each([
  [['nowhere'], /can't read nowhere: no such file or folder/],
  [['examples/mnist_vit'], /report\.json/],
  [['--runners', 'onnx-abacus', 'x.onnx'], /There is no runner onnx-abacus/],
])('refuses %j in a line', async (args, message) => {
  const { code, stderr } = await pqv('lab', ...args);
  expect(code).toBe(2);
  expect(stderr).toMatch(message);
  expect(stderr.trim().split('\n')).toHaveLength(1);
});

describe('on an emulated processor', () => {
  const lab = (args: readonly string[], env: NodeJS.ProcessEnv) =>
    pqvInterruptible(['lab', run(), ...args], undefined, { ...process.env, ...env }).finished;

  it.each([
    ['haswell', /--emulate haswell needs qemu-x86_64-static, which is not on the PATH/],
    ['cortex-a76', /--emulate cortex-a76 needs qemu-aarch64-static, which is not on the PATH/],
  ])('says what %s needs', async (name, message) => {
    const { code, stderr } = await lab(['--emulate', name], { PATH: at('nothing') });
    expect([code, stderr.trim().split('\n')]).toEqual([2, [expect.stringMatching(message)]]);
  });

  it('says that Arm needs an Arm userland', async () => {
    mkdirSync(at('bin'), { recursive: true });
    writeFileSync(at('bin', 'qemu-aarch64-static'), '');
    const { code, stderr } = await lab(['--emulate', 'cortex-a72'], { PATH: at('bin'), PQV_ARM: '' });
    expect([code, stderr]).toEqual([2, expect.stringMatching(/conformance\/processors\.sh, .* PQV_ARM/)]);
  });

  // In the place of qemu a script that runs the same on this processor: what is around it is under test.
  it.skipIf(process.arch !== 'x64')('compares what it computes, and gives no times', async () => {
    mkdirSync(at('bin'), { recursive: true });
    writeFileSync(at('bin', 'qemu-x86_64-static'), '#!/bin/sh\nshift 2\nexec "$@"\n', { mode: 0o755 });
    const { code, stdout } = await lab(['--emulate', 'haswell', '--json'], {
      PATH: `${at('bin')}:${process.env.PATH}`,
    });
    expect(code).toBe(0);
    const [device] = JSON.parse(stdout).devices;
    expect(device).toMatchObject({ emulated: true, name: expect.stringMatching(/^Haswell/) });
    expect(device.cells).toHaveLength(2);
    for (const cell of device.cells) {
      expect(cell).toMatchObject({ right: true, format: 'onnx' });
      expect(cell).not.toHaveProperty('latencyMs');
    }
    const report = reportSchema.parse(JSON.parse(readFileSync(at('run', 'report.json'), 'utf8')));
    expect(report.devices).toEqual([device]);
  });
});

describe.skipIf(!findChromium())('in a browser (needs a Chromium on the PATH, or PQV_CHROMIUM)', () => {
  it('measures every file in every runtime, and reports it', async () => {
    const { code, stdout, stderr } = await pqv(
      'lab',
      run(),
      '--browser',
      '--json',
      '--runs',
      '3',
      '--warmup',
      '3',
    );
    expect([code, stderr]).toEqual([0, expect.any(String)]);
    const { devices } = JSON.parse(stdout);
    expect(devices).toHaveLength(1);
    const { cells, isolated } = devices[0];
    expect(isolated).toBe(true);
    const names = ['dense', 'int8'].flatMap((name) => [`${name} onnx`, `${name} tflite`]);
    const found = cells.map(({ name, format }: { name: string; format: string }) => `${name} ${format}`);
    expect([...new Set(found)].sort()).toEqual(names);
    for (const cell of cells) {
      expect(cell).toMatchObject({ right: true, latencyMs: { runs: 3 }, memoryBytes: expect.any(Number) });
      expect(cell.error).toBeLessThan(cell.precision === 'fp32' ? 1e-5 : 0.05);
      if (cell.format === 'tflite') expect(cell.delegated).toBe(true);
    }
    const report = reportSchema.parse(JSON.parse(readFileSync(at('run', 'report.json'), 'utf8')));
    expect(report.devices).toEqual(expect.arrayContaining(devices));
    expect(readFileSync(at('run', 'report.html'), 'utf8')).toContain('On devices');
  });

  it('classifies pictures and what the camera sees, by keyboard too', async () => {
    const lab = pqvInterruptible([
      'lab',
      run(),
      '--runners',
      'tflite-wasm-1',
      '--runs',
      '3',
      '--warmup',
      '3',
    ]);
    await expect.poll(lab.output, { timeout: 60_000 }).toMatch(/open \S+/);
    const browser = await chromium.launch({
      executablePath: findChromium()!,
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--use-fake-device-for-media-stream',
        '--use-fake-ui-for-media-stream',
      ],
    });
    try {
      const page = await browser.newPage();
      const complaints: string[] = [];
      page.on('pageerror', ({ message }) => complaints.push(message));
      await page.goto(/open (\S+)/.exec(lab.output())![1]!);
      await page.locator('input[name=name]').fill('under test');
      await page.keyboard.press('Tab');
      await page.keyboard.press('Enter');
      await page.locator('.pictures').click({ timeout: 60_000 });
      const { samplesShown } = reportSchema.parse(JSON.parse(readFileSync(at('run', 'report.json'), 'utf8')));
      const count = samplesShown!.length;
      expect(count).toBeGreaterThan(5);
      await expect.poll(() => page.locator('.samples li').count(), { timeout: 90_000 }).toBe(count);
      expect(await page.locator('.samples li b').allTextContents()).toEqual(
        samplesShown!.map(({ predicted }) => predicted),
      );
      await page.locator('.camera').click();
      await expect
        .poll(() => page.locator('.try [role=status]').textContent(), { timeout: 60_000 })
        .toMatch(/^(\d \d+ %, ){2}\d \d+ % \(/);
      expect(complaints).toEqual([]);
    } finally {
      await browser.close();
    }
    lab.interrupt();
    const { code, stdout } = await lab.finished;
    expect(code).toBe(0);
    expect(stdout).toMatch(/^under test\n/);
  });

  it('leaves out what takes longer than it may, says what it was at, and goes on', async () => {
    const endless = ['--runs', '100000', '--warmup', '10000', '--seconds', '3600', '--limit', '1'];
    const which = ['--runners', 'onnx-wasm-1', '--no-tflite', '--json'];
    const { code, stdout } = await pqv('lab', run(), '--browser', ...which, ...endless);
    expect(code).toBe(0);
    const [{ cells }] = JSON.parse(stdout).devices;
    const reason = expect.stringMatching(/^no answer after 1 s \([a-z ]+\): left out$/);
    expect(cells).toMatchObject([
      { name: 'dense', failed: reason },
      { name: 'int8', failed: reason },
    ]);
  });

  it('marks a file wrong that computes something else than its run says', async () => {
    const { graph } = await prune(onnxruntime, await loadModel('examples/mnist_vit'), { ratio: 0.5 });
    const other = await quantize(onnxruntime, graph, { dtype: 'int8' });
    await exportModelFile(onnxruntime, other, 'tflite', at('run', 'artifacts', 'model.tflite'));
    const runner = ['--runners', 'tflite-wasm-1', '--no-tflite', '--runs', '3', '--warmup', '3'];
    const { code, stdout } = await pqv('lab', run(), '--browser', ...runner);
    expect(code).toBe(0);
    expect(stdout).toMatch(/int8 \.tflite .*WRONG/);
    const page = readFileSync(at('run', 'report.html'), 'utf8');
    expect(page).toMatch(/<span class="bad">wrong<\/span>/);
  });
});

it('takes models of any folder once they are exported', async () => {
  saveModel(await loadModel('examples/mnist_vit'), at('model'));
  const exported = await pqv('export', at('model'), '--format', 'onnx', '-o', at('single.onnx'));
  expect(exported.code).toBe(0);
  const lab = pqvInterruptible(['lab', at('single.onnx')]);
  await expect.poll(lab.output, { timeout: 60_000 }).toMatch(/single: .*single\.onnx/);
  lab.interrupt();
  expect((await lab.finished).code).toBe(0);
  expect(existsSync(at('lab'))).toBe(false);
});
