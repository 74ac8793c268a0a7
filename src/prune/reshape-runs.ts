import { divideDims, multiplyDims } from '../graph/dim.ts';
import type { Dim, Shape } from '../graph/graph.ts';

/** Consecutive axes before a Reshape, and the axes that hold the same elements after it. */
export interface Run {
  readonly from: readonly number[];
  readonly to: readonly number[];
}

/** The smallest runs of consecutive axes of equal size; undefined when sizes can't be compared. */
export function matchRuns(from: Shape, to: Shape): Run[] | undefined {
  const runs: Run[] = [];
  let i = 0;
  let j = 0;
  while (i < from.length || j < to.length) {
    const run = { from: [] as number[], to: [] as number[] };
    let a: Dim = 1;
    let b: Dim = 1;
    const takeFrom = () => {
      a = multiplyDims([a, from[i]!]);
      run.from.push(i++);
    };
    const takeTo = () => {
      b = multiplyDims([b, to[j]!]);
      run.to.push(j++);
    };
    if (i < from.length) takeFrom();
    if (j < to.length) takeTo();
    while (a !== b) {
      if (j < to.length && divideDims(a, b) !== undefined) takeTo();
      else if (i < from.length) takeFrom();
      else if (j < to.length) takeTo();
      else return undefined;
    }
    runs.push(run);
  }
  return runs;
}
