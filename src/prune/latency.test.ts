import { describe, expect, it } from 'vitest';
import { UserError } from '../common/errors.ts';
import { silent } from '../common/progress.ts';
import { countMacs } from '../graph/cost.ts';
import type { Graph } from '../graph/graph.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { initModel } from '../zoo/model.ts';
import { findGroups } from './groups.ts';
import { fastWidth } from './latency-model.ts';
import { piecesOf } from './latency-pieces.ts';
import { type LatencyMeter, type LatencyTable, type PieceRequest, sweptWidths } from './latency-table.ts';
import { type PruneOptions, prune } from './prune.ts';

/** Embedding 32, two heads of 16, MLP 128, three blocks. */
const model = (): Graph =>
  initModel(
    {
      architecture: 'deit_tiny_patch16_224',
      numClasses: 10,
      modelArgs: { img_size: 32, patch_size: 8, embed_dim: 32, depth: 3, num_heads: 2 },
    },
    3,
  );

/** Milliseconds of a graph: made up. */
type Clock = (graph: Graph) => number;

/** In proportion to multiply-accumulates. */
const flat: Clock = (graph) => countMacs(graph) / 1e5;

/** A device that takes what a clock says. */
function device(clock: Clock, whole: Clock | undefined = clock): LatencyMeter & { asked: PieceRequest[] } {
  const asked: PieceRequest[] = [];
  return {
    asked,
    about: 'made up',
    source: 'nowhere',
    async table(requests) {
      asked.push(...requests);
      const table: LatencyTable = {
        format: 'pqv latency table 1',
        engine: 'none',
        processor: 'none',
        threads: 1,
        precision: 'fp32',
        batch: 1,
        pieces: {},
        models: {},
      };
      for (const { key, name, sweeps, graph } of requests) {
        table.pieces[key] = {
          name,
          milliseconds: clock(graph()),
          sweeps: sweeps.map(({ kind, units, widths }, sweep) => ({
            kind,
            units,
            points: [
              ...widths.map((width): [number, number] => [width, clock(graph({ sweep, width }))]),
              [units, clock(graph())],
            ],
          })),
        };
      }
      return table;
    },
    ...(whole && { whole: async (graph) => whole(graph) }),
  };
}

const pruned = async (latency: LatencyMeter, options: PruneOptions) =>
  prune(onnxruntime, model(), { ...options, check: false, latency }, undefined, silent);

const keptOf = ({ groups }: Awaited<ReturnType<typeof pruned>>) =>
  Object.fromEntries(groups.map(({ name, kind, kept }) => [`${kind} ${name}`, kept]));

describe('pieces', () => {
  it('are stem, branches and head; those that are alike have one key, and are asked for once', async () => {
    const graph = model();
    const { groups } = findGroups(graph);
    const pieces = await piecesOf(graph, groups);
    expect(pieces.map(({ name }) => name)).toEqual([
      'patch_embed.proj',
      ...[0, 1, 2].flatMap((block) => [`blocks.${block}.attn.qkv`, `blocks.${block}.mlp.fc1`]),
      'head',
    ]);
    expect(new Set(pieces.map(({ key }) => key)).size).toBe(4);
    const kinds = pieces.map((piece) => piece.groups.map((i) => groups[i]!.kind).join());
    expect(kinds.slice(0, 3)).toEqual(['channels', 'channels,headDims,heads', 'channels,channels']);
    expect(pieces.reduce((sum, piece) => sum + countMacs(piece.graph), 0)).toBe(countMacs(graph));
  });

  it('get narrower in one group, and stay graphs that run', async () => {
    const meter = device(flat);
    await pruned(meter, { ratio: 0.5, roundTo: 'auto' });
    const [, attention, mlp] = meter.asked;
    expect(meter.asked).toHaveLength(4);
    expect(mlp!.sweeps.map(({ units }) => units)).toEqual([32, 128]);
    const shapes = (graph: Graph) =>
      [...graph.constants.values()].filter(({ name }) => /(qkv|fc1)\.weight$/.test(name)).map((v) => v.shape);
    expect(shapes(mlp!.graph({ sweep: 0, width: 24 }))).toEqual([[128, 24]]);
    expect(shapes(mlp!.graph({ sweep: 1, width: 56 }))).toEqual([[56, 32]]);
    expect(shapes(attention!.graph({ sweep: 1, width: 12 }))).toEqual([[72, 32]]);
    expect(shapes(attention!.graph({ sweep: 2, width: 1 }))).toEqual([[48, 32]]);
    const session = await onnxruntime.load(attention!.graph({ sweep: 1, width: 12 }));
    await session.dispose();
  });

  it('are swept in some 48 steps, few of them below a quarter', () => {
    expect(sweptWidths(12)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    expect(sweptWidths(3072).slice(0, 5)).toEqual([192, 384, 576, 768, 832]);
    expect(sweptWidths(768).at(-1)).toBe(752);
    expect(sweptWidths(1)).toEqual([]);
  });
});

describe('fastWidth', () => {
  const timed = (clock: (width: number) => number, step = 1) =>
    Array.from({ length: 64 / step }, (_, i) => (i + 1) * step).map((width) => ({
      width,
      milliseconds: clock(width),
    }));
  /** As a kernel that takes 16 channels at a time. */
  const stairs = timed((width) => 1 + Math.ceil(width / 16));

  it.each([
    [58, 64],
    [57, 64],
    [55, 48],
    [48, 48],
    [41, 48],
    [39, 32],
    [40, 48],
  ])('takes for %i the end of a step, %i', (asked, chosen) => {
    expect(fastWidth(stairs, 64, asked)).toBe(chosen);
  });

  it('leaves widths as they are where time is in proportion, and takes the nearest that was measured', () => {
    expect(
      fastWidth(
        timed((width) => 2 + width),
        64,
        37,
      ),
    ).toBe(37);
    expect(
      fastWidth(
        timed((width) => 2 + width, 4),
        64,
        37,
      ),
    ).toBe(36);
    expect(
      fastWidth(
        timed((width) => 2 + width, 4),
        64,
        38,
      ),
    ).toBe(40);
  });

  it('passes widths that are slow by themselves', () => {
    expect(
      fastWidth(
        timed((width) => (width === 58 ? 90 : 2 + width)),
        64,
        58,
      ),
    ).toBe(59);
  });
});

describe('roundTo auto', () => {
  /** 1 ms for each 24 hidden units of an MLP begun, and what MACs take. */
  const stepped: Clock = (graph) => {
    const hidden = [...graph.constants.values()].filter(({ name }) => name.endsWith('fc1.weight'));
    return flat(graph) + hidden.reduce((sum, { shape }) => sum + Math.ceil((shape![0] as number) / 24), 0);
  };

  it('moves widths to the measured steps, and says so', async () => {
    const result = await pruned(device(stepped), { ratio: 0.1, bottleneck: true, roundTo: 'auto' });
    expect(keptOf(result)['channels blocks.0.mlp.fc1']).toBe(120);
    const latency = result.latency!;
    expect(latency.widths.find(({ groups }) => groups.includes('blocks.1.mlp.fc1'))).toEqual({
      groups: ['blocks.0.mlp.fc1', 'blocks.1.mlp.fc1', 'blocks.2.mlp.fc1'],
      kind: 'channels',
      units: 128,
      asked: 115,
      kept: 120,
    });
    expect(latency).toMatchObject({ target: null, measured: null });
    expect(latency.dense).toBe(stepped(model()));
  });

  it('needs somebody who measures', async () => {
    await expect(
      prune(onnxruntime, model(), { ratio: 0.1, roundTo: 'auto' }, undefined, silent),
    ).rejects.toThrow('targetLatency and roundTo auto need somebody who measures: give latency');
  });
});

describe('targetLatency', () => {
  it('takes alike from all where time is in proportion to size', async () => {
    const dense = flat(model());
    const result = await pruned(device(flat), { targetLatency: 0.7 * dense });
    const kept = keptOf(result);
    expect(kept['channels blocks.0.mlp.fc1']).toBe(kept['channels blocks.2.mlp.fc1']);
    const share = (name: string, units: number) => kept[name]! / units;
    expect(share('channels blocks.0.mlp.fc1', 128)).toBeGreaterThan(0.65);
    expect(share('channels patch_embed.proj', 32)).toBeGreaterThan(0.65);
    expect(result.latency!.measured! / (0.7 * dense)).toBeCloseTo(1, 1);
    expect(result.latency!.measured).toBe(flat(result.graph));
  });

  it('takes more where time is dear, and each group by itself with global', async () => {
    const dear: Clock = (graph) => {
      const attends = graph.nodes.filter(({ op }) => op === 'Softmax');
      const heads = attends.reduce((sum, node) => sum + (node.output().shape!.at(-3) as number), 0);
      return flat(graph) + 2 * heads;
    };
    const dense = dear(model());
    const kept = keptOf(await pruned(device(dear), { targetLatency: 0.75 * dense }));
    expect(kept['heads blocks.0.attn.qkv']).toBe(1);
    expect(kept['channels blocks.0.mlp.fc1']).toBe(128);
    const each = keptOf(await pruned(device(dear), { targetLatency: 0.85 * dense, global: true }));
    const heads = [0, 1, 2].map((block) => each[`heads blocks.${block}.attn.qkv`]);
    expect(heads.toSorted()).not.toEqual([1, 1, 1]);
    expect(Math.min(...(heads as number[]))).toBe(1);
  });

  it('is not drawn to a width whose time is a stroke of luck', async () => {
    const lucky: Clock = (graph) => {
      const [hidden] = [...graph.constants.values()].filter(({ name }) => name.endsWith('fc1.weight'));
      return flat(graph) * (hidden?.shape?.[0] === 64 ? 0.8 : 1);
    };
    const target = 0.8 * flat(model());
    const kept = keptOf(await pruned(device(lucky, flat), { targetLatency: target }));
    const even = keptOf(await pruned(device(flat), { targetLatency: target }));
    expect(kept['channels blocks.0.mlp.fc1']).not.toBe(64);
    expect(Math.abs(kept['channels blocks.0.mlp.fc1']! - even['channels blocks.0.mlp.fc1']!)).toBeLessThan(
      24,
    );
  });

  it('corrects its predictions by what the whole model takes', async () => {
    // Where the whole is not the sum of its pieces: a model gains less by being narrow than they do.
    const whole: Clock = (graph) => 3 + 0.5 * flat(graph);
    const target = 3 + 0.4 * flat(model());
    const { latency } = await pruned(device(flat, whole), { targetLatency: target });
    expect(latency!.tries.length).toBeGreaterThan(1);
    expect(Math.abs(latency!.measured! / target - 1)).toBeLessThan(0.05);
  });

  it('predicts alone where the device is not at hand', async () => {
    const target = 0.8 * flat(model());
    const { latency } = await pruned({ ...device(flat), whole: undefined } as never, {
      targetLatency: target,
    });
    expect(latency).toMatchObject({ measured: null, tries: [], target });
    expect(latency!.predicted).toBeLessThanOrEqual(target);
  });

  it('keeps what options keep', async () => {
    const target = 0.8 * flat(model());
    const options = { targetLatency: target, bottleneck: true, ignore: ['*.attn.*'], roundTo: 8 };
    const kept = keptOf(await pruned(device(flat), options));
    expect(kept['channels patch_embed.proj']).toBe(32);
    expect(kept['headDims blocks.0.attn.qkv']).toBe(16);
    expect(kept['heads blocks.0.attn.qkv']).toBe(2);
    expect(kept['channels blocks.0.mlp.fc1']! % 8).toBe(0);
    const heads = keptOf(await pruned(device(flat), { targetLatency: target, heads: 0.5 }));
    expect(heads['heads blocks.1.attn.qkv']).toBe(1);
  });

  it('names what can not be met', async () => {
    const dense = flat(model());
    const tooFast = pruned(device(flat), { targetLatency: 1e-3 });
    await expect(tooFast).rejects.toThrow(UserError);
    await expect(tooFast).rejects.toThrow(/^pruning can't go below \d+\.\d\d ms, asked for 0.001 ms/);
    await expect(pruned(device(flat), { targetLatency: dense + 1 })).rejects.toThrow(/already/);
    await expect(pruned(device(flat), { targetLatency: 1, ratio: 0.1 })).rejects.toThrow(
      'targetLatency chooses the widths by itself: leave out ratio, ratioFor and targetMacs',
    );
  });
});
