import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UserError } from '../common/errors.ts';
import { Builder } from '../graph/builder.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { saveOnnx } from '../onnx/file.node.ts';
import { benchmark } from './latency.node.ts';
import { LatencyWorker } from './latency-worker.node.ts';
import { quantile } from './quantile.ts';

let folder: string;
const file = (name: string) => ({ name, path: join(folder, `${name}.onnx`) });

function model(batch: number | string, width: number): Graph {
  const graph = new Graph();
  const pixels = graph.addInput('pixel_values', 'float32', [batch, 1, 4, width]);
  const b = new Builder(graph);
  const flat = b.op('Flatten', [pixels], { axis: 1 });
  graph.outputs.push(b.op('MatMul', [flat, Tensor.zeros('float32', [4 * width, 3])], {}, 'logits'));
  return graph;
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pqv-latency-'));
  saveOnnx(model('N', 4), file('small').path);
  saveOnnx(model('N', 64), file('wide').path);
  saveOnnx(model(2, 4), file('pairs').path);
  writeFileSync(file('damaged').path, 'no model');
});

afterAll(() => rmSync(folder, { recursive: true }));

const options = { runtime: 'ort', runs: 4, warmup: 1, threads: 1 } as const;
const children = () => process.getActiveResourcesInfo().filter((kind) => kind === 'ProcessWrap').length;

describe('benchmark', () => {
  it('times models in processes of their own, one run each in turn', async () => {
    const ballast = new Uint8Array(400e6).fill(1);
    const updates: number[] = [];
    const progress = {
      task: (_: string, total: number) => ({
        update: (done: number) => updates.push(done / total),
        done() {},
      }),
      note() {},
    };
    const results = await benchmark([file('small'), file('wide')], { ...options, progress });
    expect(updates).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map((done) => done / 8));
    expect(results.map(({ model: name }) => name)).toEqual(['small', 'wide']);
    for (const result of results) {
      expect(result).toMatchObject({ runtime: 'ort', threads: 1, batch: 1, runs: 4 });
      expect(result.engine).toMatch(/^onnxruntime \d/);
      expect(result.median).toBeGreaterThan(0);
      expect(result.p95).toBeGreaterThanOrEqual(result.median);
      expect(result.peakRssBytes).toBeGreaterThan(20e6);
      // Not the memory of the process that started it.
      expect(result.peakRssBytes).toBeLessThan(ballast.length);
    }
    await expect.poll(children, { timeout: 10_000 }).toBe(0);
  });

  it('takes the input size from the file or from the caller, and says when they disagree', async () => {
    const [pairs] = await benchmark([file('pairs')], { ...options, batch: 2 });
    expect(pairs!.batch).toBe(2);
    await expect(benchmark([file('pairs')], options)).rejects.toThrow(
      `${file('pairs').path}: it takes batches of 2, not 1`,
    );
    await expect(benchmark([file('small')], { ...options, inputShape: [1, 4, 5] })).rejects.toThrow(
      file('small').path,
    );
  });

  it.each(['damaged', 'missing'])('names a %s file and the reason in one line', async (name) => {
    const error = await benchmark([file('small'), file(name)], options).catch((caught) => caught);
    expect(error).toBeInstanceOf(UserError);
    expect(error.message.startsWith(`${file(name).path}: `)).toBe(true);
    expect(error.message).not.toContain('\n');
    await expect.poll(children, { timeout: 10_000 }).toBe(0);
  });

  it('refuses files the runtime does not take', async () => {
    await expect(benchmark([{ name: 'm', path: 'm.pt' }], options)).rejects.toThrow(
      'm.pt: the runtime ort takes .onnx and .ort files',
    );
  });

  it('kills the processes when it is interrupted', async () => {
    const stop = new AbortController();
    const progress = {
      task: () => ({ update: () => stop.abort(new Error('Ctrl-C')), done() {} }),
      note() {},
    };
    const running = benchmark([file('small'), file('wide')], {
      ...options,
      runs: 1_000_000,
      progress,
      signal: stop.signal,
    });
    await expect(running).rejects.toThrow('Ctrl-C');
    await expect.poll(children, { timeout: 10_000 }).toBe(0);
  });
});

describe('LatencyWorker', () => {
  const node = (script: string) =>
    new LatencyWorker({ file: process.execPath, args: ['-e', script] }, 'model.pt');

  it('speaks to any program that answers JSON lines, whatever else that prints', async () => {
    const worker = node(`
      console.log('a banner');
      require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
        const request = JSON.parse(line);
        console.log('thinking');
        console.log(JSON.stringify({ milliseconds: Array(request.timed).fill(request.untimed) }));
      });`);
    expect(await worker.ask<'run'>({ op: 'run', untimed: 3, timed: 2 })).toEqual({ milliseconds: [3, 3] });
    await worker.stop();
  });

  it('quotes the last words of one that dies, during a request and after', async () => {
    const worker = node(
      `process.stdin.once('data', () => { console.error('first\\nno memory left'); process.exit(3); })`,
    );
    const ended = 'model.pt: the process that ran it ended (exit code 3): no memory left';
    await expect(worker.ask<'memory'>({ op: 'memory' })).rejects.toThrow(ended);
    await expect(worker.ask<'memory'>({ op: 'memory' })).rejects.toThrow(ended);
  });

  it('tells of a kill and of a program that is not there', async () => {
    const killed = node('setInterval(() => {}, 1000)');
    const asking = killed.ask<'memory'>({ op: 'memory' });
    killed.kill();
    await expect(asking).rejects.toThrow('model.pt: the process that ran it ended (killed by SIGKILL)');
    const absent = new LatencyWorker({ file: join(folder, 'python'), args: [] }, 'model.pt');
    await expect(absent.ask<'memory'>({ op: 'memory' })).rejects.toThrow(/can't be started/);
  });
});

it('interpolates quantiles as NumPy does', () => {
  expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
  expect(quantile([5, 1, 2, 3, 4], 0.95)).toBeCloseTo(4.8, 12);
  expect(quantile([7], 0.95)).toBe(7);
});
