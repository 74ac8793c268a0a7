import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { countMacs } from '../src/graph/cost.ts';
import { findGroups } from '../src/prune/groups.ts';
import { latencyRequests } from '../src/prune/latency-model.ts';
import { piecesOf } from '../src/prune/latency-pieces.ts';
import type { LatencyTable, PieceRequest } from '../src/prune/latency-table.ts';
import { loadModel } from '../src/zoo/load.node.ts';
import { pqv, scratch, tinyArgs } from './command.ts';

const at = scratch();

/** What another device might have measured: 1 ms for each million multiply-accumulates, which here are hundreds a graph. */
function madeUp({ sweeps, graph, name }: PieceRequest): LatencyTable['pieces'][string] {
  const time = (...narrower: Parameters<PieceRequest['graph']>) => 1e-6 * countMacs(graph(...narrower));
  return {
    name,
    milliseconds: time(),
    sweeps: sweeps.map(({ kind, units, widths }, sweep) => ({
      kind,
      units,
      points: [...widths.map((width): [number, number] => [width, time({ sweep, width })]), [units, time()]],
    })),
  };
}

let dense: number;

beforeAll(async () => {
  expect(await pqv('init', ...tinyArgs, '-o', at('model'))).toMatchObject({ code: 0 });
  const graph = await loadModel(at('model'));
  dense = 1e-6 * countMacs(graph);
  const { groups } = findGroups(graph);
  const requests = latencyRequests(graph, await piecesOf(graph, groups), groups);
  const table: LatencyTable = {
    format: 'pqv latency table 1',
    engine: 'LiteRT 1.4',
    processor: 'a phone',
    threads: 4,
    precision: 'int8',
    batch: 1,
    pieces: Object.fromEntries(requests.map((request) => [request.key, madeUp(request)])),
    models: {},
  };
  writeFileSync(at('phone.json'), JSON.stringify(table));
});

const prune = (...args: string[]) => pqv('prune', at('model'), '--latency-table', at('phone.json'), ...args);

describe('pqv prune --latency-table', () => {
  it('chooses widths for another device, and says what they are predicted to take there', async () => {
    const target = 0.7 * dense;
    const { code, stdout } = await prune('--target-latency', String(target), '-o', at('made'), '--json');
    expect(code).toBe(0);
    const { latency, before, after } = JSON.parse(stdout);
    expect(latency).toMatchObject({ target, measured: null, tries: [], table: at('phone.json') });
    expect(latency.about).toBe('int8, LiteRT 1.4, 4 threads, a phone');
    expect(latency.predicted).toBeLessThanOrEqual(target);
    expect(latency.predicted).toBeGreaterThan(0.95 * target);
    expect(after.macs / before.macs).toBeGreaterThan(0.6);
    expect(after.macs / before.macs).toBeLessThan(0.75);
    expect(JSON.parse(readFileSync(at('made', 'pruning.json'), 'utf8')).latency).toEqual(latency);
  });

  it('moves widths with --round-to auto; --dry-run writes nothing', async () => {
    const { code, stdout } = await prune('--ratio', '0.25', '--round-to', 'auto', '--dry-run');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^patch_embed\.proj +channels +32 +24 +24$/m);
    expect(stdout).toMatch(/the widths asked for would take/);
    expect(stdout).toMatch(/nothing was written$/m);
    expect(existsSync(at('nowhere'))).toBe(false);
  });

  it.each([
    [['--target-latency', '0.000001'], /can't go below \d+\.\d+ ms, asked for 0\.000001 ms/],
    [['--target-latency', '99'], /takes \d+\.\d+ ms already/],
    [['--target-latency', '1', '--precision', 'fp32'], /has int8 times, not fp32/],
    [['--target-latency', '1', '--ratio', '0.1'], /leave out ratio, ratioFor and targetMacs/],
    [['--target-latency', 'soon'], /must be a number above 0/],
    [['--ratio', '0.1', '--round-to', 'fast'], /must be a whole number of at least 1 or auto/],
  ])('refuses %j', async (args, message) => {
    const { code, stderr } = await prune(...args, '-o', at('not'));
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
    expect(existsSync(at('not'))).toBe(false);
  });

  it('refuses a file that is no table, and one of another model', async () => {
    writeFileSync(at('none.json'), '{"format": "pqv latency table 2"}');
    const table = JSON.parse(readFileSync(at('phone.json'), 'utf8'));
    writeFileSync(at('other.json'), JSON.stringify({ ...table, pieces: {} }));
    const using = (name: string) =>
      pqv('prune', at('model'), '--dry-run', '--target-latency', '1', '--latency-table', at(name));
    expect((await using('none.json')).stderr).toMatch(/none\.json: format is/);
    expect((await using('other.json')).stderr).toMatch(
      /has no times of patch_embed\.proj \(piece [0-9a-f]{16}\)/,
    );
    expect((await using('absent.json')).code).toBe(2);
  });
});
