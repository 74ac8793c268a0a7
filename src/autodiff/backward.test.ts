import { describe, expect, it } from 'vitest';
import { UserError } from '../common/errors.ts';
import { Builder } from '../graph/builder.ts';
import { checkGraph } from '../graph/check.ts';
import { Graph, type Value } from '../graph/graph.ts';
import { caseFeeds, caseGraph, inOpsets, type OpCase, sequence } from '../graph/op-cases/case.ts';
import { opCases } from '../graph/op-cases/cases.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce, type Session, type Tensors } from '../runtime/session.ts';
import { backward } from './backward.ts';
import { gradientRules } from './rules.ts';

/** `sum(w * output)` in double precision, so that the difference of two runs keeps its digits. */
async function weighted(session: Session, feeds: Tensors, weights: Record<string, number[]>) {
  const results = await session.run(feeds);
  let total = 0;
  for (const [name, w] of Object.entries(weights)) {
    const data = results[name]!.data as Float32Array;
    w.forEach((weight, i) => {
      total += weight * data[i]!;
    });
  }
  return total;
}

/** Central differences of fourth order. */
async function differences(
  session: Session,
  feeds: Tensors,
  name: string,
  weights: Record<string, number[]>,
) {
  const { shape, floats } = feeds[name]!;
  const h = 0.02;
  const slope: number[] = [];
  for (let i = 0; i < floats.length; i++) {
    const at = (step: number) =>
      weighted(
        session,
        { ...feeds, [name]: Tensor.float32(shape, floats.with(i, floats[i]! + step)) },
        weights,
      );
    const near = (await at(h)) - (await at(-h));
    const far = (await at(2 * h)) - (await at(-2 * h));
    slope.push((8 * near - far) / (12 * h));
  }
  return slope;
}

/** Cases of ops with a rule that have inputs to differentiate; statistics that a norm gives besides have no gradient. */
const differentiable = opCases.filter(
  ({ op, operands, outputs, rounds }) =>
    gradientRules[op] &&
    !rounds &&
    (outputs === 1 || op === 'Split' || op === 'BatchNormalization') &&
    operands.some((operand) => operand && !(operand instanceof Tensor) && operand.dtype === 'float32'),
);

describe('gradient rules agree with finite differences', () => {
  it.each(inOpsets(differentiable))(
    '$op in operator set $opset: $one.operands $one.args',
    async ({ one, opset }: { one: OpCase; opset: number }) => {
      const { graph, builder, inputs: wrt } = caseGraph(one, opset);
      const random = sequence(7);
      const feeds = caseFeeds(one, random);
      const made = one.op === 'BatchNormalization' ? graph.outputs.slice(0, 1) : [...graph.outputs];
      const plain = await onnxruntime.load(graph, { threads: 1 });
      const forward = await plain.run(feeds);
      const plainFeeds = { ...feeds };
      const weights: Record<string, number[]> = {};
      const parts = made.map((value) => {
        const { shape, size, dtype } = forward[value.name]!;
        const w = Array.from({ length: size }, () => 2 * random() - 1);
        weights[value.name] = w;
        const weight = graph.addInput(`w.${value.name}`, 'float32', value.shape);
        feeds[weight.name] = Tensor.float32(shape, w);
        const output = dtype === 'float32' ? value : builder.op('Cast', [value], { to: 1 });
        return builder.op('ReduceSum', [builder.op('Mul', [output, weight])], { keepdims: 0 });
      });
      const loss = parts.length > 1 ? builder.op('Sum', parts) : parts[0]!;
      const gradients = backward(graph, loss, wrt);
      graph.outputs.splice(0, graph.outputs.length, ...wrt.map((value) => gradients.get(value)!));
      expect(checkGraph(graph)).toEqual([]);
      const results = await runOnce(onnxruntime, graph, feeds, { threads: 1 });
      for (const value of wrt) {
        const gradient = gradients.get(value)!;
        const actual = results[gradient.name]!;
        expect(actual.shape, `shape of d${value.name}`).toEqual(feeds[value.name]!.shape);
        expect(gradient.shape, `declared shape of d${value.name}`).toEqual(value.shape);
        const expected = await differences(plain, plainFeeds, value.name, weights);
        actual.floats.forEach((element, i) => {
          const error = Math.abs(element - expected[i]!);
          expect(error, `d${value.name}[${i}]: ${element} for ${expected[i]}`).toBeLessThan(
            2e-3 * Math.max(1, Math.abs(expected[i]!)),
          );
        });
      }
      await plain.dispose();
    },
  );

  it('has a case for every rule', () => {
    const covered = new Set<string>(differentiable.map(({ op }) => op));
    expect(Object.keys(gradientRules).filter((op) => !covered.has(op))).toEqual([]);
  });
});

describe('backward', () => {
  const scalarLoss = (b: Builder, value: Value) => b.op('ReduceSum', [value], { keepdims: 0 });

  it('adds up the gradients of a value that is read several times, and gives those of intermediate values', async () => {
    const graph = new Graph();
    const b = new Builder(graph);
    const x = graph.addInput('x', 'float32', [2]);
    const y = b.op('Mul', [x, x]);
    const z = b.op('Add', [b.op('Mul', [y, x]), y]);
    const gradients = backward(graph, scalarLoss(b, z), [x, y]);
    graph.outputs.push(gradients.get(x)!, gradients.get(y)!);
    const results = await runOnce(onnxruntime, graph, { x: Tensor.float32([2], [2, -3]) });
    expect(Array.from(results[gradients.get(x)!.name]!.floats)).toEqual([16, 21]);
    expect(Array.from(results[gradients.get(y)!.name]!.floats)).toEqual([3, -2]);
  });

  it('fills in zeros for a part that no loss reads, and for a value the loss does not depend on', async () => {
    const graph = new Graph();
    const b = new Builder(graph);
    const x = graph.addInput('x', 'float32', ['N', 4]);
    const other = graph.addInput('other', 'float32', [3]);
    b.op('Exp', [other]);
    const [, second] = b.node('Split', [x, Tensor.int64([1, 3])], { axis: 1 }, 2).outputs;
    const gradients = backward(graph, scalarLoss(b, second!), [x, other]);
    graph.outputs.push(...gradients.values());
    const feeds = { x: Tensor.zeros('float32', [2, 4]), other: Tensor.zeros('float32', [3]) };
    const results = await runOnce(onnxruntime, graph, feeds);
    expect(Array.from(results[gradients.get(x)!.name]!.floats)).toEqual([0, 1, 1, 1, 0, 1, 1, 1]);
    expect(Array.from(results[gradients.get(other)!.name]!.floats)).toEqual([0, 0, 0]);
  });

  it('takes the short way through attention: the sum over keys becomes one over head columns', async () => {
    const attention = (readTwice: boolean) => {
      const graph = new Graph();
      const b = new Builder(graph);
      const [q, k, v] = ['q', 'k', 'v'].map((name) => graph.addInput(name, 'float32', ['N', 2, 5, 3]));
      const scores = b.op('com.microsoft.FusedMatMul', [q, k], { transB: 1 });
      const p = b.op('Softmax', [scores], { axis: -1 });
      const o = b.op('MatMul', [p, v]);
      let loss = scalarLoss(b, b.op('Mul', [o, o]));
      if (readTwice) loss = b.op('Add', [loss, b.op('Mul', [scalarLoss(b, p), Tensor.scalar(0)])]);
      const gradients = backward(graph, loss, [q!, k!, v!]);
      graph.outputs.push(...gradients.values());
      return graph;
    };
    const random = sequence(3);
    const feeds = Object.fromEntries(
      ['q', 'k', 'v'].map((name) => [
        name,
        Tensor.float32(
          [2, 2, 5, 3],
          Float32Array.from({ length: 60 }, () => random() * 4 - 2),
        ),
      ]),
    );
    const [short, long] = [attention(false), attention(true)];
    const a = Object.values(await runOnce(onnxruntime, short, feeds));
    const c = Object.values(await runOnce(onnxruntime, long, feeds));
    a.forEach((tensor, i) => {
      tensor.floats.forEach((element, k) => {
        expect(element).toBeCloseTo(c[i]!.floats[k]!, 4);
      });
    });
  });

  it('names the op and the node that can not be differentiated', () => {
    const graph = new Graph();
    const b = new Builder(graph);
    const x = graph.addInput('x', 'float32', [2]);
    const y = b.op('Atan', [x], undefined, 'angle');
    expect(() => backward(graph, scalarLoss(b, y), [x])).toThrow(UserError);
    expect(() => backward(graph, scalarLoss(b, y), [x])).toThrow(/Atan.*angle/);
  });

  it('takes no two lengths of which nothing is known for one', async () => {
    const graph = new Graph();
    const b = new Builder(graph);
    const [x, y] = ['x', 'y'].map((name) => graph.addInput(name, 'float32', ['?', 2]));
    const loss = scalarLoss(b, b.op('Mul', [x, y]));
    expect(() => backward(graph, loss, [x!])).toThrow(/Mul.*nothing is known/);

    const alone = new Graph();
    const c = new Builder(alone);
    const [z, target] = [alone.addInput('z', 'float32', ['?', 2]), alone.addInput('target', 'int64', [2])];
    const folded = c.op('Reshape', [z, target]);
    folded.shape = ['?', 2];
    const gradient = backward(alone, scalarLoss(c, c.op('Mul', [folded, Tensor.float32([2], [3, 5])])), [
      z,
    ]).get(z)!;
    alone.outputs.push(gradient);
    const feeds = { z: Tensor.zeros('float32', [2, 2]), target: Tensor.int64([2, 2]) };
    const results = await runOnce(onnxruntime, alone, feeds);
    expect(Array.from(results[gradient.name]!.floats)).toEqual([3, 5, 3, 5]);
    expect(gradient.producer!.op).toBe('Reshape');
  });

  it('takes a gradient straight past what has none, where that is said, and only where it passes', async () => {
    const graph = new Graph();
    const b = new Builder(graph);
    const x = graph.addInput('x', 'float32', [4]);
    const doubled = b.op('Mul', [x, b.scalar(2)]);
    const whole = b.op('Cast', [b.op('Atan', [b.op('Round', [doubled])])], { to: 7 });
    const y = b.op('Mul', [b.op('Cast', [whole], { to: 1 }), b.scalar(5)]);
    const loss = scalarLoss(b, b.op('Mul', [y, Tensor.float32([4], [1, 10, 100, 1000])]));
    const where = (end: Builder) => end.op('Less', [doubled, end.scalar(3)]);
    const ways = [new Map(), new Map([[y, { of: doubled }]]), new Map([[y, { of: doubled, where }]])];
    const found = ways.map((straight) => backward(graph, loss, [x], straight).get(x)!);
    graph.outputs.push(...found);
    expect(checkGraph(graph)).toEqual([]);
    const results = await runOnce(onnxruntime, graph, { x: Tensor.float32([4], [0, 1, 2, -3]) });
    expect(found.map(({ name }) => Array.from(results[name]!.floats))).toEqual([
      [0, 0, 0, 0],
      [2, 20, 200, 2000],
      [2, 20, 0, 2000],
    ]);
  });

  it('does not ask for rules off the way, and refuses a loss that is no scalar', () => {
    const graph = new Graph();
    const b = new Builder(graph);
    const x = graph.addInput('x', 'float32', [2]);
    const image = graph.addInput('image', 'float32', [2]);
    const y = b.op('Mul', [x, b.op('Atan', [image])]);
    expect(backward(graph, scalarLoss(b, y), [x]).get(x)!.shape).toEqual([2]);
    expect(() => backward(graph, y, [x])).toThrow(/one element/);
  });
});
