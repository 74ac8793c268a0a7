import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Random } from '../common/random.ts';
import { Builder } from '../graph/builder.ts';
import { checkGraph } from '../graph/check.ts';
import { Graph, type Value } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { importGraph } from '../import/import-graph.ts';
import { optimizeForOrt } from '../optimize/optimize.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import { applyPlan } from './apply.ts';
import { findGroups } from './groups.ts';
import { planPruning } from './plan.ts';

/** One step of making a graph: it takes values that are there by their place, and adds one. */
interface Step {
  readonly kind: keyof typeof makers;
  readonly a: number;
  readonly b: number;
  readonly width: number;
}

const tokens = 4;
const widthOf = (value: Value): number => value.shape![2] as number;

/** Steps whose values are zero where all that they read is: then zeroed channels are as good as gone. */
const makers = {
  linear(b: Builder, x: Value, _: Value, width: number, name: string) {
    const noise = new Random(name.length, widthOf(x), width);
    const constant = (part: string, ...shape: number[]) => {
      const count = shape.reduce((p, d) => p * d, 1);
      const data = Float32Array.from({ length: count }, () => 0.5 * noise.normal());
      return b.graph.addConstant(b.graph.uniqueName(`${name}.${part}`), Tensor.float32(shape, data));
    };
    const weight = b.op('Transpose', [constant('weight', width, widthOf(x))], { perm: [1, 0] });
    return b.op('Add', [b.op('MatMul', [x, weight]), constant('bias', width)]);
  },
  act: (b: Builder, x: Value) => b.op('Gelu', [x]),
  add: (b: Builder, x: Value, y: Value) => (widthOf(x) === widthOf(y) ? b.op('Add', [x, y]) : undefined),
  gate: (b: Builder, x: Value, y: Value) => (widthOf(x) === widthOf(y) ? b.op('Mul', [x, y]) : undefined),
  concat: (b: Builder, x: Value, y: Value) => b.op('Concat', [x, y], { axis: -1 }),
  split: (b: Builder, x: Value, _: Value, width: number) =>
    b.node('Split', [x], { axis: 2, num_outputs: 2 }, 2).output(width % 2),
  slice: (b: Builder, x: Value, _: Value, width: number) =>
    b.op('Slice', [x, b.ints([1]), b.ints([Math.min(width, widthOf(x))]), b.ints([2])]),
  tokens(b: Builder, x: Value) {
    const turned = b.op('Transpose', [x], { perm: [0, 2, 1] });
    return b.op('Transpose', [b.op('Relu', [turned])], { perm: [0, 2, 1] });
  },
  attend(b: Builder, x: Value, y: Value, width: number) {
    const heads = 1 + (width % 2);
    if (widthOf(x) % heads > 0 || widthOf(x) !== widthOf(y)) return undefined;
    const split = (value: Value, perm: number[]) =>
      b.op('Transpose', [b.op('Reshape', [value, b.ints([0, 0, heads, widthOf(value) / heads])])], { perm });
    const scores = b.op('MatMul', [split(x, [0, 2, 1, 3]), split(y, [0, 2, 3, 1])]);
    const context = b.op('MatMul', [b.op('Softmax', [scores], { axis: -1 }), split(x, [0, 2, 1, 3])]);
    return b.op('Reshape', [
      b.op('Transpose', [context], { perm: [0, 2, 1, 3] }),
      b.ints([0, 0, widthOf(x)]),
    ]);
  },
} satisfies Record<
  string,
  (b: Builder, x: Value, y: Value, width: number, name: string) => Value | undefined
>;

const steps = fc.array(
  fc.record<Step>({
    kind: fc.constantFrom(...(Object.keys(makers) as Step['kind'][])),
    a: fc.nat(20),
    b: fc.nat(20),
    width: fc.constantFrom(2, 3, 4, 6, 8),
  }),
  { minLength: 3, maxLength: 14 },
);

function graphOf(program: readonly Step[]): Graph {
  const graph = new Graph('random');
  const b = new Builder(graph);
  const x = graph.addInput('x', 'float32', ['N', tokens, 4]);
  const values = [makers.linear(b, x, x, 6, 'first')];
  program.forEach(({ kind, a, b: other, width }, i) => {
    const [left, right] = [a, other].map((place) => values[place % values.length]!) as [Value, Value];
    const made = makers[kind](b, left, right, width, `layer${i}`);
    if (made && widthOf(made) >= 2) values.push(made);
  });
  graph.outputs.push(makers.linear(b, values.at(-1)!, x, 3, 'last'));
  graph.removeDead();
  return graph;
}

const input = Tensor.float32(
  [2, tokens, 4],
  Float32Array.from({ length: 2 * tokens * 4 }, (_, i) => Math.sin(12.9898 * (i + 1))),
);

async function outputOf(graph: Graph): Promise<Float32Array> {
  const results = await runOnce(onnxruntime, graph, { x: input }, { optimization: 'disabled' });
  return results[graph.outputs[0]!.name]!.floats;
}

function expectSame(found: Float32Array, wanted: Float32Array): void {
  const scale = Math.max(1, ...wanted.map(Math.abs));
  const worst = Math.max(...found.map((value, i) => Math.abs(value - wanted[i]!)));
  expect(worst / scale).toBeLessThan(1e-4);
}

const times = { numRuns: 40 };

it('a graph of any steps computes the same when it is imported, and when it is optimized', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (program) => {
      const graph = graphOf(program);
      expect(checkGraph(graph)).toEqual([]);
      const wanted = await outputOf(graph);
      const { graph: brought } = graph.clone();
      importGraph(brought);
      expect(checkGraph(brought)).toEqual([]);
      expectSame(await outputOf(brought), wanted);
      const optimized = await optimizeForOrt(onnxruntime, graph);
      expect(checkGraph(optimized)).toEqual([]);
      expectSame(await outputOf(optimized), wanted);
    }),
    times,
  );
});

it('a graph of any steps loses channels as if they were zero, and what stays fits together', async () => {
  await fc.assert(
    fc.asyncProperty(steps, fc.double({ min: 0.1, max: 0.9, noNaN: true }), async (program, ratio) => {
      const graph = graphOf(program);
      const { groups } = findGroups(graph, { headDims: 'free' });
      const scores = groups.map(({ size }, i) => {
        const random = new Random(7, i);
        return Float64Array.from({ length: size }, () => random.uniform());
      });
      const plan = planPruning(groups, scores, { ratio });
      const pruned = applyPlan(graph, plan).graph;
      expect(checkGraph(pruned)).toEqual([]);
      const { graph: masked } = graph.clone();
      for (const [group, removed] of plan) {
        const gone = new Set(removed);
        for (const { parameter, axis, units: owners } of group.slices) {
          const value = masked.constants.get(parameter.name)!;
          masked.setConstant(
            value,
            zeroed(value.tensor!, axis, (index) => gone.has(owners[index]!)),
          );
        }
      }
      expectSame(await outputOf(pruned), await outputOf(masked));
    }),
    times,
  );
});

/** The tensor with zeros at indices of an axis. */
function zeroed(tensor: Tensor, axis: number, gone: (index: number) => boolean): Tensor {
  const inner = tensor.shape.slice(axis + 1).reduce((p, d) => p * d, 1);
  const data = tensor.floats.map((value, i) =>
    gone(Math.floor(i / inner) % tensor.shape[axis]!) ? 0 : value,
  );
  return Tensor.float32(tensor.shape, data);
}
