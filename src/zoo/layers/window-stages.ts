import type { Value } from '../../graph/graph.ts';
import type { Layers } from './layers.ts';
import { planWindows, type WindowPlan } from './shifted-windows.ts';

type Pair = readonly [height: number, width: number];

export interface WindowStages {
  /** Name of the list of stages. */
  name: string;
  depths: readonly number[];
  /** Patches of an image. */
  grid: Pair;
  windowOf(stage: number): Pair;
  /** Keep windows and shifts whatever the size. */
  always: boolean;
  /** The image before every stage but the first. */
  merge(x: Value, stage: number): Value;
  block(x: Value, stage: number, index: number, plan: WindowPlan): Value;
}

/** Stages of Swin's kind: images of half the size from one to the next, every second block's windows shifted. */
export function windowStages(layers: Layers, x: Value, options: WindowStages): Value {
  const { name, depths, grid, windowOf, always, merge, block } = options;
  return depths.reduce((image, depth, stage) => {
    const size = grid.map((length) => Math.floor(length / 2 ** stage)) as [number, number];
    return layers.scope(`${name}.${stage}`, () => {
      let y = stage > 0 ? merge(image, stage) : image;
      for (let i = 0; i < depth; i++) {
        const plan = planWindows(size, windowOf(stage), i % 2 === 1, always);
        y = layers.scope(`blocks.${i}`, () => block(y, stage, i, plan));
      }
      return y;
    });
  }, x);
}
