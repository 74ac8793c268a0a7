import { describe, expect, it } from 'vitest';
import { Random } from '../common/random.ts';
import { Builder } from '../graph/builder.ts';
import { checkGraph } from '../graph/check.ts';
import { Graph, type Value } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import { quantizeDynamic } from './dynamic.ts';
import { int4Grid, quantizeInt4 } from './int4.ts';
import { migrateScales } from './migrate.ts';

const width = 24;

function normal(seed: number, shape: readonly number[]): Tensor {
  const random = new Random(seed);
  const size = shape.reduce((a, b) => a * b);
  return Tensor.float32(
    shape,
    Float32Array.from({ length: size }, () => random.normal()),
  );
}

type Write = (b: Builder, normed: Value, weights: readonly Value[]) => readonly Value[];

/** A norm of which one channel is 60 times as large, and undone in the weights that read it. */
function network(write: Write): Graph {
  const graph = new Graph('network');
  graph.opsets.set('', 18);
  const b = new Builder(graph);
  const x = graph.addInput('x', 'float32', ['N', 6, width]);
  const vector = (name: string, seed: number) => {
    const tensor = normal(seed, [width]);
    tensor.floats[4]! *= 60;
    return graph.addConstant(name, tensor);
  };
  const normed = b.op('LayerNormalization', [x, vector('norm.weight', 1), vector('norm.bias', 2)]);
  const weights = [3, 4].map((seed) => {
    const tensor = normal(seed, [9, width]);
    for (let i = 4; i < tensor.size; i += width) tensor.floats[i]! /= 60;
    return graph.addConstant(`weight.${seed}`, tensor);
  });
  graph.outputs.push(...write(b, normed, weights));
  return graph;
}

const linear = (b: Builder, x: Value, weight: Value) =>
  b.op('MatMul', [x, b.op('Transpose', [weight], { perm: [1, 0] })]);

const feeds = { x: normal(9, [3, 6, width]) };
const migrated = (graph: Graph) => migrateScales(onnxruntime, graph, [feeds]);

async function distance(exact: Graph, other: Graph): Promise<number> {
  const [a, b] = [await runOnce(onnxruntime, exact, feeds), await runOnce(onnxruntime, other, feeds)];
  const norm = (values: number[]) => Math.hypot(...values);
  const all = exact.outputs.flatMap(({ name }) => [...a[name]!.floats]);
  const others = other.outputs.flatMap(({ name }) => [...b[name]!.floats]);
  return norm(all.map((value, i) => value - others[i]!)) / norm(all);
}

describe('channels of a norm that Linears alone read', () => {
  const cases: Record<string, Write> = {
    'one Linear': (b, x, [w]) => [linear(b, x, w!)],
    'two Linears': (b, x, weights) => weights.map((w) => linear(b, x, w)),
    'a Linear of the mean, and one of a position, behind a change of layout': (b, x, [v, w]) => [
      linear(b, b.op('ReduceMean', [x, b.ints([1])], { keepdims: 0 }), v!),
      linear(
        b,
        b.op('Gather', [b.op('Reshape', [x, b.ints([0, 2, 3, width])]), Tensor.scalar(1, 'int64')], {
          axis: 2,
        }),
        w!,
      ),
    ],
  };
  for (const [name, write] of Object.entries(cases)) {
    it(`are evened out: ${name}`, async () => {
      const source = network(write);
      const { graph, migrated: norms } = await migrated(source);
      checkGraph(graph);
      expect(norms).toEqual(['norm.weight']);
      // Powers of two: the same numbers.
      expect(await distance(source, graph)).toBe(0);
      const before = await distance(source, await quantizeDynamic(onnxruntime, source));
      const after = await distance(source, await quantizeDynamic(onnxruntime, graph));
      expect(after).toBeLessThan(before / 4);
      expect(source.constants.get('norm.weight')!.tensor!.floats).toEqual(
        network(write).constants.get('norm.weight')!.tensor!.floats,
      );
    });
  }
});

it('are evened out where weights are in blocks of four bits', async () => {
  const source = network((b, x, [w]) => [linear(b, x, w!)]);
  const inBlocks = (graph: Graph) => quantizeInt4(onnxruntime, graph, { blockSize: 16 });
  const { graph, migrated: norms } = await migrateScales(
    onnxruntime,
    source,
    [feeds],
    int4Grid(16, 'float32'),
  );
  expect(norms).toEqual(['norm.weight']);
  expect(await distance(source, graph)).toBe(0);
  // A channel whose weights are a sixtieth of the others of their block is rounded away.
  const before = await distance(source, await inBlocks(source));
  expect(await distance(source, await inBlocks(graph))).toBeLessThan(0.7 * before);
});

describe('channels stay as they are', () => {
  const cases: Record<string, Write> = {
    'where something else reads them': (b, x, [w]) => [linear(b, x, w!), b.op('Relu', [x])],
    'where they leave the model': (b, x, [w]) => [linear(b, x, w!), x],
    'where they change places': (b, x, [w]) => [
      linear(b, b.op('Reshape', [b.op('Transpose', [x], { perm: [0, 2, 1] }), b.ints([0, 6, width])]), w!),
    ],
    'where a weight is used twice': (b, x, [w]) => [linear(b, x, w!), linear(b, b.op('Relu', [x]), w!)],
  };
  for (const [name, write] of Object.entries(cases)) {
    it(name, async () => {
      const { graph, migrated: norms } = await migrated(network(write));
      expect(norms).toEqual([]);
      expect(graph.constants.get('norm.weight')!.tensor!.floats).toEqual(
        network(write).constants.get('norm.weight')!.tensor!.floats,
      );
    });
  }
});
