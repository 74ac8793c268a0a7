import { describe, expect, it } from 'vitest';
import { silent } from '../common/progress.ts';
import { Graph } from '../graph/graph.ts';
import type { LatencyTable, PieceRequest } from '../prune/latency-table.ts';
import { settled, sweepLatency, type TimeGraphs } from './latency-sweep.ts';

const empty = (): LatencyTable => ({
  format: 'pqv latency table 1',
  engine: 'none',
  processor: 'none',
  threads: 1,
  precision: 'int8',
  batch: 1,
  pieces: {},
  models: {},
});

/** A piece of which each graph bears the width that it has. */
const request = (key: string, units: number, widths: readonly number[]): PieceRequest => ({
  key,
  name: `piece ${key}`,
  sweeps: [{ kind: 'channels', units, widths }],
  graph: (narrower) => new Graph(String(narrower?.width ?? units)),
});

/** A clock by which a graph takes its width in ms, and that gets slower by `drift` with every call. */
function clock(drift = 1): { time: TimeGraphs; calls: string[][] } {
  const calls: string[][] = [];
  const time: TimeGraphs = async (graphs) => {
    const speed = drift ** calls.length;
    calls.push(graphs.map(({ name }) => name));
    return graphs.map(({ name }) => [1, 2, 1].map((round) => round * speed * Number(name)));
  };
  return { time, calls };
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

describe('sweepLatency', () => {
  it('times whole pieces together, and then widths beside their piece', async () => {
    const table = empty();
    const { time, calls } = clock();
    const saved: number[] = [];
    const updates: number[] = [];
    const progress = {
      ...silent,
      task: (_: string, total: number) => ({
        update: (done: number) => updates.push(done / total),
        done() {},
      }),
    };
    const requests = [request('a', 12, range(3, 12)), request('b', 20, [5])];
    await sweepLatency(table, requests, time, {
      progress,
      save: (t) => saved.push(Object.keys(t.pieces).length),
    });
    expect(calls).toEqual([
      ['12', '20'],
      ['12', '3', '5', '7', '9', '11'],
      ['12', '4', '6', '8', '10'],
      ['20', '5'],
    ]);
    expect(updates).toEqual([2, 7, 11, 12].map((done) => done / 12));
    expect(saved).toEqual([2, 2, 2, 2]);
    expect(table.pieces.a).toEqual({
      name: 'piece a',
      milliseconds: 12,
      sweeps: [{ kind: 'channels', units: 12, points: range(3, 13).map((width) => [width, width]) }],
    });
  });

  it('is not bent by a machine that gets slower', async () => {
    const table = empty();
    await sweepLatency(table, [request('a', 12, range(1, 12))], clock(1.7).time, {
      progress: silent,
      save() {},
    });
    for (const [width, milliseconds] of table.pieces.a!.sweeps[0]!.points)
      expect(milliseconds).toBeCloseTo(width, 9);
  });

  it('goes on where it was interrupted, and has nothing to do when all is there', async () => {
    const table = empty();
    const requests = [request('a', 12, range(1, 12))];
    const { time } = clock();
    let left = 2;
    const failing: TimeGraphs = (graphs) => {
      if (left-- === 0) throw new Error('Ctrl-C');
      return time(graphs);
    };
    let saved = '';
    const save = (t: LatencyTable) => {
      saved = JSON.stringify(t);
    };
    await expect(sweepLatency(table, requests, failing, { progress: silent, save })).rejects.toThrow(
      'Ctrl-C',
    );
    const kept: LatencyTable = JSON.parse(saved);
    expect(kept.pieces.a!.sweeps[0]!.points).toHaveLength(7);
    const again = clock();
    await sweepLatency(kept, requests, again.time, { progress: silent, save });
    expect(again.calls).toEqual([['12', '2', '4', '6', '8', '10']]);
    await sweepLatency(kept, requests, again.time, { progress: silent, save });
    expect(again.calls).toHaveLength(1);
  });
});

it('goes on until undisturbed runs agree, however long the others are', () => {
  expect(settled([[1, 1, 1, 1, 9, 9, 9]])).toBe(true);
  expect(settled([[1, 1.2, 1.4, 1.6, 1.8, 2]])).toBe(false);
  expect(
    settled([
      [1, 1, 1, 1],
      [2, 3, 4, 5],
    ]),
  ).toBe(false);
});
