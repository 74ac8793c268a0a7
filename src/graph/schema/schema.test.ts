import { describe, expect, it } from 'vitest';
import type { GradientRules } from '../../autodiff/rule.ts';
import { Builder } from '../builder.ts';
import { Graph, type Node } from '../graph.ts';
import { addCase, opCase } from '../op-cases/case.ts';
import type { ShapeRules } from '../shapes/rule.ts';
import { Tensor } from '../tensor.ts';
import { argumentsOf, isComputed, setArguments } from './arguments.ts';
import { softmaxAxes } from './axes.ts';
import { rangesOf } from './ranges.ts';
import { type OpArguments, type OpName, opNames, signatureOf, signaturesOf } from './signature.ts';

const opsets = [7, 9, 11, 13, 25];

/** A node of a float input, written as an operator set has it. */
function nodeIn<O extends OpName>(
  opset: number,
  op: O,
  args: Parameters<typeof opCase<O>>[2],
  outputs = 1,
): Node {
  const graph = new Graph();
  graph.opsets.set('', opset);
  const x = graph.addInput('x', 'float32', ['N', 6, 8]);
  return addCase(new Builder(graph), opCase(op, [], args, outputs), [x]);
}

describe('arguments have one name in every operator set', () => {
  it.each(opsets)('bounds, places, lengths and counts, in %s', (opset) => {
    const clip = argumentsOf<'Clip'>(nodeIn(opset, 'Clip', { min: -1 }));
    expect([clip.min, clip.max]).toEqual([-1, undefined]);
    const slice = argumentsOf<'Slice'>(nodeIn(opset, 'Slice', { starts: [1], ends: [-1], axes: [-1] }));
    expect(rangesOf(slice, 3)).toEqual([{ axis: 2, start: 1, end: -1, step: 1 }]);
    const pad = argumentsOf<'Pad'>(nodeIn(opset, 'Pad', { pads: [0, 1, 2, 0, 0, 3] }));
    expect([pad.pads, pad.value, pad.axes, pad.mode]).toEqual([[0, 1, 2, 0, 0, 3], 0, undefined, 'constant']);
    expect(argumentsOf<'TopK'>(nodeIn(opset, 'TopK', { k: 2 }, 2))).toMatchObject({
      k: 2,
      axis: -1,
      largest: 1,
    });
    expect(argumentsOf<'Split'>(nodeIn(opset, 'Split', { split: [2, 4], axis: 1 }, 2)).split).toEqual([2, 4]);
    expect(argumentsOf<'Dropout'>(nodeIn(opset, 'Dropout', {})).ratio).toBe(0.5);
    expect(argumentsOf<'Unsqueeze'>(nodeIn(opset, 'Unsqueeze', { axes: [1] })).axes).toEqual([1]);
    const sum = argumentsOf<'ReduceSum'>(nodeIn(opset, 'ReduceSum', { axes: [1] }));
    expect([sum.axes, sum.keepdims, sum.noop_with_empty_axes]).toEqual([[1], 1, 0]);
  });

  it.each(opsets)('Softmax works on the axes that it means in %s', (opset) => {
    const of = (args: { axis?: number }) => {
      const node = nodeIn(opset, 'Softmax', args);
      return softmaxAxes(node, argumentsOf<'Softmax'>(node), 3);
    };
    expect(of({})).toEqual(opset < 13 ? [1, 2] : [2]);
    expect(of({ axis: 1 })).toEqual(opset < 13 ? [1, 2] : [1]);
    expect(of({ axis: 2 })).toEqual([2]);
  });

  it.each(opsets)('are set in their place in %s', (opset) => {
    const node = nodeIn(opset, 'Slice', { starts: [1], ends: [4], axes: [1] });
    const graph = new Graph();
    setArguments<'Slice'>(node, { starts: [0], ends: [2] }, (tensor) =>
      graph.addConstant(graph.uniqueName('c'), tensor),
    );
    const { starts, ends, axes } = argumentsOf<'Slice'>(node);
    expect([starts, ends, axes]).toEqual([[0], [2], [1]]);
    expect(node.attributes.has('starts')).toBe(opset < 10);
  });
});

describe('what can not be resolved', () => {
  const b = new Builder(new Graph());
  const x = b.graph.addInput('x', 'float32', [2, 3]);

  it('is the value that will hold it, when it is computed', () => {
    const axes = b.graph.addInput('axes', 'int64', [1]);
    const args = argumentsOf<'ReduceSum'>(b.node('ReduceSum', [x, axes]));
    expect(isComputed(args.axes)).toBe(true);
    expect(args.axes).toBe(axes);
  });

  it('is an error that names node and argument, when it is asked for', () => {
    const node = b.graph.addNode({ opType: 'Concat', inputs: [x], name: 'join' });
    expect(() => argumentsOf<'Concat'>(node).axis).toThrow('Concat "join" lacks attribute axis');
    const wrong = b.graph.addNode({
      opType: 'Softmax',
      inputs: [x],
      attributes: { axis: 'last' },
      name: 'p',
    });
    expect(() => argumentsOf<'Softmax'>(wrong).axis).toThrow(
      'Softmax "p": attribute axis is string, expected int',
    );
  });

  it('reads half precision, and numbers of any integer type', () => {
    const half = new Tensor('float16', [], Uint16Array.of(0xb800));
    expect(argumentsOf<'Clip'>(b.node('Clip', [x, half])).min).toBe(-0.5);
    const indices = new Tensor('int32', [2], Int32Array.of(-1, 1));
    expect(argumentsOf<'Gather'>(b.node('Gather', [x, indices])).indices).toEqual([-1, 1]);
  });
});

describe('the table', () => {
  it('has versions in order, each with a signature that can be read', () => {
    for (const op of opNames) {
      const since = signaturesOf(op).map((signature) => signature.since);
      expect(since, op).toEqual([...since].sort((a, b) => a - b));
    }
    expect(
      signaturesOf('Slice')
        .at(-1)!
        .inputs.map(({ name, kind, optional }) => [name, kind, optional]),
    ).toEqual([
      ['data', undefined, false],
      ['starts', 'I', false],
      ['ends', 'I', false],
      ['axes', 'I', true],
      ['steps', 'I', true],
    ]);
  });

  it('knows nothing of other operators, and of versions before its first', () => {
    const graph = new Graph();
    graph.opsets.set('', 4);
    const node = graph.addNode({ opType: 'Reshape', inputs: [] });
    expect(signatureOf(node)).toBeUndefined();
    expect(signatureOf(graph.addNode({ opType: 'toString', inputs: [] }))).toBeUndefined();
  });

  it('types rules: what an operator has not, a rule can not read, and what is no operator has no rule', () => {
    // @ts-expect-error Relu has no axis
    const axis: OpArguments['Relu']['axis'] = 0;
    const shapes: ShapeRules = {
      // @ts-expect-error there is no operator Relus
      Relus: () => [],
      // @ts-expect-error Concat has no axes
      Concat: (_node, { axes }) => [axes],
    };
    const gradients: GradientRules = {
      // @ts-expect-error Softmax has no axes
      Softmax: (_node, { axes }) => axes,
    };
    expect([axis, shapes, gradients]).toHaveLength(3);
  });
});
