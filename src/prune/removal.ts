import type { Shape, Value } from '../graph/graph.ts';
import type { Dependencies } from './dependency.ts';
import { type Factor, product, readStrided, stridesAlong } from './layout.ts';
import type { Plan } from './plan.ts';

/** Which indices of which axes a plan removes, for every value of the graph. */
export class Removal {
  readonly #sweeps: readonly { dependencies: Dependencies; gone: ReadonlySet<number> }[];

  constructor(plan: Plan) {
    const gone = new Map<Dependencies, Set<number>>();
    for (const [{ members }, units] of plan) {
      const roots = gone.get(members.dependencies) ?? new Set();
      gone.set(members.dependencies, roots);
      for (const unit of units) for (const root of members.units[unit]!) roots.add(root);
    }
    this.#sweeps = [...gone].map(([dependencies, roots]) => ({ dependencies, gone: roots }));
  }

  /** Constants with labelled axes. */
  get constants(): readonly Value[] {
    return this.#sweeps[0]?.dependencies.constants ?? [];
  }

  /** The indices of an axis that stay, ascending; undefined when all do. Not for an axis that is part of a box. */
  kept(value: Value, axis: number): number[] | undefined {
    const mask = this.#mask(value, axis);
    if (!mask?.gone.includes(1)) return undefined;
    return [...mask.gone.keys()].filter((i) => !mask.gone[i]);
  }

  /** The length of an axis afterwards; undefined when it does not change. */
  length(value: Value, axis: number): number | undefined {
    const mask = this.#mask(value, axis);
    if (!mask?.gone.includes(1)) return undefined;
    return lengthAlong(mask, mask.axes.indexOf(axis), value);
  }

  /** Which elements of a value go, along those of its axes that lose some; undefined when none does. */
  gone(value: Value): Gone | undefined {
    const masks: Mask[] = [];
    for (const axis of value.shape!.keys()) {
      if (masks.some(({ axes }) => axes.includes(axis))) continue;
      const mask = this.#mask(value, axis);
      if (mask?.gone.includes(1)) masks.push(mask);
    }
    if (masks.length === 0) return undefined;
    const axes = masks.flatMap((mask) => mask.axes).sort((a, b) => a - b);
    const dims = axes.map((axis) => value.shape![axis] as number);
    const bits = new Uint8Array(product(dims));
    for (const mask of masks) {
      readStrided(mask.gone, dims, stridesAlong(mask, axes)).forEach((bit, e) => {
        bits[e]! |= bit;
      });
    }
    return { axes, dims, bits };
  }

  /** A value's shape afterwards. */
  shape(value: Value): Shape | undefined {
    return value.shape?.map((dim, axis) => this.length(value, axis) ?? dim);
  }

  /** How many indices of `from..to` (not included) of an axis stay. */
  count(value: Value, axis: number, from: number, to: number): number {
    const mask = this.#mask(value, axis);
    if (!mask) return to - from;
    const position = mask.axes.indexOf(axis);
    const inner = product(mask.dims.slice(position + 1));
    const length = mask.dims[position]!;
    const gone = mask.gone.map((bit, e) => {
      const index = Math.floor(e / inner) % length;
      return index < from || index >= to ? 1 : bit;
    });
    return lengthAlong({ ...mask, gone }, position, value);
  }

  /** The elements that go, over all axes that are in a factor with this one in any sweep. */
  #mask(value: Value, axis: number): Mask | undefined {
    const factors: { factor: Factor; isGone: (label: number) => boolean }[] = [];
    let axes = [axis];
    for (let grown = true; grown; ) {
      grown = false;
      for (const { dependencies, gone } of this.#sweeps) {
        for (const factor of dependencies.layout(value)) {
          if (factors.some((known) => known.factor === factor)) continue;
          if (!factor.axes.some((a) => axes.includes(a))) continue;
          factors.push({ factor, isGone: (label) => gone.has(dependencies.layouts.labels.find(label)) });
          axes = [...new Set([...axes, ...factor.axes])].sort((a, b) => a - b);
          grown = true;
        }
      }
    }
    if (factors.length === 0) return undefined;
    const dims = axes.map((a) => value.shape![a] as number);
    const gone = new Uint8Array(product(dims));
    for (const { factor, isGone } of factors) {
      const bits = factor.labels.map((label) => Number(isGone(label)));
      readStrided(bits, dims, stridesAlong(factor, axes)).forEach((bit, e) => {
        gone[e]! |= bit;
      });
    }
    const boxed = factors.find(({ factor }) => factor.axes.length === axes.length)?.factor;
    if (!boxed) throw new Error(`${value.name} has channels that overlap in axes ${axes}`);
    return { axes, dims, gone, inner: boxed.inner };
  }
}

/** Elements of some axes of a value, ascending ones: 1 where they go, row-major. */
export interface Gone {
  readonly axes: readonly number[];
  readonly dims: readonly number[];
  readonly bits: Uint8Array;
}

interface Mask {
  readonly axes: readonly number[];
  readonly dims: readonly number[];
  readonly gone: Uint8Array;
  /** Which of `axes` may keep different indices in each index of the others. */
  readonly inner: number;
}

/**
 * Of an outer axis those indices stay that have a kept element; of the inner one as many as are kept
 * in every outer index that stays.
 */
function lengthAlong({ dims, gone, inner }: Mask, position: number, value: Value): number {
  const stride = product(dims.slice(position + 1));
  const length = dims[position]!;
  const counts = new Map<number, number>();
  gone.forEach((bit, e) => {
    if (bit) return;
    const index = Math.floor(e / stride) % length;
    const line = position === inner ? e - index * stride : index;
    counts.set(line, (counts.get(line) ?? 0) + 1);
  });
  if (position !== inner) return counts.size;
  const [count = 0, ...others] = new Set(counts.values());
  if (others.length)
    throw new Error(`pruning would leave ${value.name} ragged: ${[count, ...others]} along one axis`);
  return count;
}
