import { readFileSync } from 'node:fs';
import { beforeAll, expect, it } from 'vitest';
import { scratch } from '../../test/command.ts';
import { silent } from '../common/progress.ts';
import { prune } from '../library/prune.ts';
import { latencyMeter } from '../measure/latency-meter.node.ts';
import { initModel } from '../pipeline/commands/init.node.ts';
import { latencyTable } from '../prune/latency-table.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { loadModel } from '../zoo/load.node.ts';
import type { TimingTask } from './device-timer.ts';
import { measureTable, type TableOptions, type TableResult } from './table.node.ts';

const at = scratch();
const model = () => at('model');

beforeAll(async () => {
  const modelArgs = { img_size: 28, in_chans: 1, patch_size: 7, embed_dim: 32, depth: 2, num_heads: 2 };
  await initModel('vit_tiny_patch16_224', model(), { numClasses: 10, modelArgs, seed: 0 });
});

interface FakeDevice {
  name: string;
  /** Tasks after which it goes away. */
  tires?: number;
}

/** Has a table measured by a device whose times are the sizes of the files. */
async function measuredBy({ name, tires = Number.POSITIVE_INFINITY }: FakeDevice, file: string) {
  let graphs = 0;
  const ask = async (base: string, path: string, body: unknown) => {
    const headers = { 'content-type': 'application/json', origin: new URL(base).origin };
    const answer = await fetch(base + path, { method: 'POST', headers, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(await answer.text());
    return answer.json();
  };
  const device = async (base: string) => {
    const facts = { userAgent: 'test', cores: 8, isolated: true, relaxedSimd: true, webgpu: false };
    const { device: id } = await ask(base, 'hello', { name, ...facts });
    let result: unknown;
    for (let tasks = 0; ; tasks++) {
      if (tasks === tires) return ask(base, 'goodbye', { device: id });
      const task: TimingTask | 'done' | 'wait' = await ask(base, 'next', {
        device: id,
        ...(result ? { result } : {}),
      });
      result = undefined;
      if (task === 'done') return;
      if (task === 'wait') continue;
      const times: number[][] = [];
      for (const { path } of task.graphs) {
        const bytes = await (await fetch(base + path)).arrayBuffer();
        times.push(Array.from({ length: task.rounds }, () => bytes.byteLength / 1e4));
      }
      graphs += times.length;
      result = { id: task.id, times, engine: 'onnxruntime-web 1.2.3', threads: 4 };
    }
  };
  const options: TableOptions = {
    port: 0,
    lan: false,
    http: false,
    file,
    precision: 'fp32',
    threads: 'many',
    progress: silent,
    signal: new AbortController().signal,
    listener: {},
    opened() {},
    visit: device,
  };
  const outcome: TableResult | Error = await measureTable(model(), options).catch((error) => error);
  return { outcome, graphs };
}

const tableIn = (file: string) => latencyTable.parse(JSON.parse(readFileSync(file, 'utf8')));

it('is a table of the device, that pruning chooses widths by', async () => {
  const { outcome, graphs } = await measuredBy({ name: 'a phone' }, at('phone.json'));
  expect(outcome).toMatchObject({
    device: 'a phone',
    engine: 'onnxruntime-web 1.2.3',
    threads: 4,
    pieces: 4,
  });
  const table = tableIn(at('phone.json'));
  expect(table).toMatchObject({ processor: 'a phone', precision: 'fp32' });
  expect(Object.values(table.models)).toHaveLength(1);
  expect(graphs).toBeGreaterThan(50);
  const meter = latencyMeter({
    engine: onnxruntime,
    threads: 1,
    tableFile: at('phone.json'),
    version: 'test',
    progress: silent,
  });
  const [dense] = Object.values(table.models);
  const target = 0.8 * dense!;
  const result = await prune(onnxruntime, await loadModel(model()), {
    targetLatency: target,
    importance: 'l1',
    latency: meter,
  });
  expect(result.latency).toMatchObject({ target, measured: null, dense });
  expect(result.latency!.predicted).toBeLessThanOrEqual(target * 1.02);
});

it('keeps what was measured when the device leaves, and goes on from there', async () => {
  const file = at('broken.json');
  const first = await measuredBy({ name: 'a phone', tires: 4 }, file);
  expect(String(first.outcome)).toMatch(/a phone left; .*broken\.json has what it measured: run this again/);
  const kept = JSON.stringify(tableIn(file).pieces);
  const second = await measuredBy({ name: 'a phone' }, file);
  expect(second.outcome).toMatchObject({ pieces: 4 });
  const whole = await measuredBy({ name: 'a phone' }, at('whole.json'));
  expect(second.graphs).toBeLessThan(whole.graphs);
  expect(JSON.stringify(tableIn(file).pieces).length).toBeGreaterThan(kept.length);
  expect(tableIn(file)).toEqual(tableIn(at('whole.json')));
});

it("does not mix two devices' times", async () => {
  const { outcome } = await measuredBy({ name: 'a tablet' }, at('phone.json'));
  expect(String(outcome)).toMatch(/has times of a phone .*, not of a tablet .*: name another file/);
});
