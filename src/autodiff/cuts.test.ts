import { describe, expect, it } from 'vitest';
import { Builder } from '../graph/builder.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { leastCuts } from './cuts.ts';

/** How many nodes are in each stretch of a chain of products whose values are as wide as told. */
function lengths(widths: readonly number[], isRead = true): number[] {
  const graph = new Graph();
  const b = new Builder(graph);
  let x = graph.addInput('x', 'float32', ['N', 1]);
  for (const [i, width] of widths.entries()) {
    const before = widths[i - 1] ?? 1;
    x = b.op('MatMul', [x, Tensor.float32([before, width], new Float32Array(before * width))]);
  }
  const values = new Set(graph.nodes.map((node) => node.output()));
  const stretches = leastCuts(graph.nodes, (value) => values.has(value), isRead ? values : new Set());
  return stretches.map((stretch) => stretch.length);
}

describe('cuts', () => {
  it('are where the least crosses', () => {
    // A block makes 8 + 8 + 1. Cut behind each 1: 3 cross and 17 in a stretch, 20 of 68; one cut: 1 + 34.
    expect(lengths([8, 8, 1, 8, 8, 1, 8, 8, 1, 8, 8, 1])).toEqual([3, 3, 3, 3]);
  });

  it('are the square root of a chain of equal values', () => {
    // k cuts of 16 values: k + 16 / (k + 1), least for k = 3.
    expect(lengths(new Array(16).fill(4))).toEqual([4, 4, 4, 4]);
  });

  it('are none where nothing is read again, or nothing would be saved', () => {
    expect(lengths([8, 8, 8, 8], false)).toEqual([4]);
    expect(lengths([8, 8])).toEqual([2]);
  });
});
