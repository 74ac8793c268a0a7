import type { Shape } from '../graph/graph.ts';
import { Labels } from './labels.ts';
import {
  assertBroadcast,
  axisFactor,
  type Box,
  dropPosition,
  type Factor,
  factorOf,
  joinFactors,
  type Labelled,
  type Layout,
  labelsAt,
  readStrided,
  stridesAlong,
  stridesOf,
} from './layout.ts';
import { matchRuns, type Run } from './reshape-runs.ts';

/**
 * What unites labels while the rules sweep over the graph, and remembers the boxes it met.
 *
 * It looks for one of two kinds of unit. Elements: any index may go by itself, so what all outer
 * indices of a box share (a norm's weight over head dimensions) ties their elements together. Wholes:
 * only outer indices go, with all their elements, so what they share is left alone.
 */
export class Layouts {
  readonly units: 'elements' | 'wholes';
  readonly labels = new Labels();
  readonly boxes: Box[] = [];
  readonly #residual: Int32Array[] = [];

  constructor(units: 'elements' | 'wholes' = 'elements') {
    this.units = units;
  }

  /** These channels are a residual stream: several branches are added into them. */
  markResidual(layout: Layout): void {
    for (const factor of layout) this.#residual.push(factor.labels);
  }

  /** Representatives of all residual channels. */
  residual(): Set<number> {
    return new Set(this.#residual.flatMap((labels) => [...labels].map((label) => this.labels.find(label))));
  }

  pinFactor(factor: Factor): void {
    this.labels.pin(factor.labels);
    for (const outer of factor.outer) if (outer) this.labels.pin(outer);
  }

  pin(layout: Layout): void {
    for (const factor of layout) this.pinFactor(factor);
  }

  /** No index of this axis may go. */
  pinAxis(layout: Layout, axis: number): void {
    const factor = factorOf(layout, axis);
    if (!factor) return;
    const position = factor.axes.indexOf(axis);
    if (position !== factor.inner) this.labels.pin(factor.outer[position]!);
    else if (this.units === 'elements' || factor.axes.length === 1) this.labels.pin(factor.labels);
  }

  /** As many of these indices of the inner axis of a box must stay in every outer index. */
  keepEven(layout: Layout, axis: number, indices: readonly number[]): void {
    const factor = factorOf(layout, axis);
    if (!factor || factor.axes.length === 1 || factor.axes[factor.inner] !== axis || indices.length === 0)
      return;
    const labels = labelsAt(factor, factor.inner, indices);
    this.boxes.push({ ...factor, labels, dims: factor.dims.with(factor.inner, indices.length) });
  }

  /** What an op mixes along an axis must lose the same elements at each of its indices. */
  tieAlong(layout: Layout, axis: number): void {
    const factor = factorOf(layout, axis);
    if (!factor || factor.axes.length === 1) return;
    const first = firstAlong(factor.labels, factor.dims, factor.axes.indexOf(axis));
    this.labels.uniteAll(first, factor.labels);
  }

  /** The labels of an axis that stands for itself; one that is part of a box is pinned and has none. */
  single(layout: Layout, axis: number): Int32Array | undefined {
    const factor = factorOf(layout, axis);
    if (!factor) return undefined;
    if (factor.axes.length === 1) return factor.labels;
    this.pinFactor(factor);
    return undefined;
  }

  /** Unites two axes that are the same channels; an axis without labels pins its partner. */
  uniteAxes(a: Int32Array | undefined, b: Int32Array | undefined): Int32Array | undefined {
    if (a && b) {
      this.labels.uniteAll(a, b);
      return a;
    }
    if (a) this.labels.pin(a);
    if (b) this.labels.pin(b);
    return undefined;
  }

  /**
   * Elementwise meeting of two tensors of equal rank: axes of length 1 broadcast, others agree index
   * by index. A box that meets one of its axes alone is tied across the others if that axis is the
   * inner one (a norm's weight over head dimensions), and joined by its outer labels if not.
   */
  meet(a: Labelled, b: Labelled): Labelled {
    assertBroadcast(a, b);
    this.#pinUnlabelled(a, b);
    this.#pinUnlabelled(b, a);
    let result: Factor[] = a.layout.flatMap((factor) => this.#withoutPinned(factor));
    for (const factor of b.layout.flatMap((whole) => this.#withoutPinned(whole))) {
      const met = result.filter((other) => other.axes.some((axis) => factor.axes.includes(axis)));
      result = result.filter((other) => !met.includes(other));
      if (met.length === 0) result.push(factor);
      else if (met.length === 1) result.push(...this.#meetFactors(met[0]!, factor));
      else if (met.every((other) => other.axes.every((axis) => factor.axes.includes(axis)))) {
        for (const other of met) this.#attach(other, factor);
        result.push(factor);
      } else {
        for (const other of [...met, factor]) this.pinFactor(other);
      }
    }
    return { dims: a.dims.map((dim, i) => (dim === 1 ? b.dims[i]! : dim)), layout: result };
  }

  /** A box of which no element may go is no more than its outer indices (weights behind a softmax). */
  #withoutPinned(factor: Factor): Layout {
    if (factor.axes.length === 1 || !factor.labels.every((label) => this.labels.isPinned(label))) {
      return [factor];
    }
    return factor.axes.flatMap((axis, i) => {
      const outer = factor.outer[i];
      return outer ? [axisFactor(axis, outer)] : [];
    });
  }

  #pinUnlabelled(from: Labelled, other: Labelled): void {
    from.dims.forEach((dim, axis) => {
      if (dim !== 1 && !factorOf(from.layout, axis)) this.pinAxis(other.layout, axis);
    });
  }

  #meetFactors(a: Factor, b: Factor): Factor[] {
    const within = (x: Factor, y: Factor) => x.axes.every((axis) => y.axes.includes(axis));
    if (within(b, a)) {
      this.#attach(b, a);
      return [a];
    }
    if (within(a, b)) {
      this.#attach(a, b);
      return [b];
    }
    this.labels.pin(a.labels);
    this.labels.pin(b.labels);
    const shared: Factor[] = [];
    for (const axis of a.axes) {
      const x = a.outer[a.axes.indexOf(axis)];
      const y = b.outer[b.axes.indexOf(axis)];
      if (x && y) {
        this.labels.uniteAll(x, y);
        shared.push(axisFactor(axis, x));
      } else if (b.axes.includes(axis)) {
        if (x) this.labels.pin(x);
        if (y) this.labels.pin(y);
      }
    }
    return shared;
  }

  /** Unites a factor with the larger one that covers its axes. */
  #attach(part: Factor, whole: Factor): void {
    const positions = part.axes.map((axis) => whole.axes.indexOf(axis));
    if (part.axes.length === 1 && positions[0] !== whole.inner) {
      this.labels.uniteAll(part.labels, whole.outer[positions[0]!]!);
      return;
    }
    if (part.axes[part.inner] !== whole.axes[whole.inner]) {
      this.pinFactor(part);
      this.pinFactor(whole);
      return;
    }
    positions.forEach((position, i) => {
      const outer = part.outer[i];
      if (outer) this.labels.uniteAll(outer, whole.outer[position]!);
    });
    if (this.units === 'wholes' && part.axes.length < whole.axes.length) return;
    this.labels.uniteAll(whole.labels, readStrided(part.labels, whole.dims, stridesAlong(part, whole.axes)));
  }

  /** Sums an axis away; the others keep their positions. Of a box whose inner axis goes, the outer labels stay. */
  reduce(layout: Layout, axis: number): Layout {
    return layout.flatMap((factor) => {
      const position = factor.axes.indexOf(axis);
      if (position < 0) return [factor];
      if (factor.axes.length === 1) return [];
      if (position === factor.inner) {
        return factor.axes.flatMap((other, i) =>
          i === position ? [] : [axisFactor(other, factor.outer[i]!)],
        );
      }
      this.labels.pin(factor.outer[position]!);
      this.labels.uniteAll(firstAlong(factor.labels, factor.dims, position), factor.labels);
      return [dropPosition({ ...factor, labels: labelsAt(factor, position, [0]) }, position)];
    });
  }

  /**
   * The indices `indices` of an axis (Slice, Split, Gather with constant indices). Outer indices of
   * a box are chosen by position, so they are pinned; a choice within the inner axis must be as
   * large in every outer index, so it is a box again.
   */
  take(layout: Layout, axis: number, indices: readonly number[]): Layout {
    return layout.flatMap((factor) => {
      const position = factor.axes.indexOf(axis);
      if (position < 0) return [factor];
      const labels = labelsAt(factor, position, indices);
      const outer = factor.outer.map((o, i) =>
        i === position && o ? Int32Array.from(indices, (index) => o[index]!) : o,
      );
      const taken = { ...factor, labels, outer, dims: factor.dims.with(position, indices.length) };
      const whole = indices.length === factor.dims[position] && indices.every((index, i) => index === i);
      if (factor.axes.length > 1 && !whole) {
        if (position !== factor.inner) this.labels.pin(factor.outer[position]!);
        else this.boxes.push(taken);
      }
      if (indices.length !== 1) return [taken];
      if (factor.axes.length === 1) {
        this.labels.pin(labels);
        return [];
      }
      if (position === factor.inner) {
        this.pinFactor(factor);
        return [];
      }
      return [dropPosition(taken, position)];
    });
  }

  /** Joins tensors along an axis; the other axes meet. */
  concat(parts: readonly Labelled[], axis: number): Layout {
    const others = parts
      .map(({ dims, layout }) => ({
        dims: dims.with(axis, 1),
        layout: layout.filter((f) => !f.axes.includes(axis)),
      }))
      .reduce<Labelled | undefined>((a, b) => (a ? this.meet(a, b) : b), undefined)!;
    const pieces = parts.map(({ layout }) => factorOf(layout, axis));
    if (pieces.every((piece) => !piece)) return others.layout;
    const boxed = pieces.filter((piece) => piece && piece.axes.length > 1) as Factor[];
    if (boxed.length === 0) {
      const labels = parts.flatMap(({ dims }, i) => {
        const piece = pieces[i];
        if (piece) return [...piece.labels];
        return Array<number>(typeof dims[axis] === 'number' ? dims[axis] : 0).fill(Labels.pinned);
      });
      const known = parts.every(({ dims }) => typeof dims[axis] === 'number');
      if (!known) this.labels.pin(labels);
      return known ? [...others.layout, axisFactor(axis, Int32Array.from(labels))] : others.layout;
    }
    const [first] = boxed as [Factor];
    const position = first.axes.indexOf(axis);
    const fits = (f: Factor | undefined) =>
      f &&
      `${f.axes}` === `${first.axes}` &&
      f.inner === first.inner &&
      f.dims.every((dim, i) => i === position || dim === first.dims[i]);
    if (!pieces.every(fits) || position !== first.inner) {
      for (const piece of pieces) if (piece) this.pinFactor(piece);
      return others.layout;
    }
    for (const piece of boxed.slice(1)) {
      piece.outer.forEach((outer, i) => {
        if (outer) this.labels.uniteAll(outer, first.outer[i]!);
      });
    }
    return [...others.layout, joinFactors(boxed, position)];
  }

  /**
   * Row-major reinterpretation. Axes fall into the smallest runs of equal size on both sides; a
   * labelled axis alone passes, one that is split becomes a box, a box that is merged an axis again.
   * Labels merged with axes that are not channels are repeated over those. Two independent channel
   * axes can't be merged: they are pinned. Outer indices of a box that join the batch (heads whose images a
   * convolution sees one by one) stay, and all lose the same elements.
   */
  reshape(from: Labelled, to: Shape): Layout {
    const runs = matchRuns(from.dims, to);
    if (!runs) {
      this.pin(from.layout);
      return [];
    }
    const symbolic = new Set(
      runs.filter((run) => run.to.some((axis) => typeof to[axis] !== 'number')).flatMap((run) => run.from),
    );
    return from.layout
      .flatMap((factor) => this.#tiedOver(factor, symbolic))
      .flatMap((factor) => this.#reshapeFactor(factor, from, to, runs) ?? []);
  }

  /** A box without those of its outer axes that are among some. */
  #tiedOver(factor: Factor, axes: ReadonlySet<number>): Layout {
    const joined = factor.axes.filter((axis, i) => i !== factor.inner && axes.has(axis));
    return joined.reduce<Layout>((layout, axis) => this.reduce(layout, axis), [factor]);
  }

  #reshapeFactor(factor: Factor, from: Labelled, to: Shape, runs: readonly Run[]): Factor | undefined {
    const touched = runs.filter((run) => run.from.some((axis) => factor.axes.includes(axis)));
    const foreign = touched.some((run) =>
      run.from.some((axis) => from.dims[axis] !== 1 && !isOwn(axis) && !isFree(axis)),
    );
    function isOwn(axis: number) {
      return factor.axes.includes(axis);
    }
    function isFree(axis: number) {
      return typeof from.dims[axis] === 'number' && !factorOf(from.layout, axis);
    }
    const symbolic = touched.some((run) => run.to.some((axis) => typeof to[axis] !== 'number'));
    if (foreign || symbolic) {
      this.pinFactor(factor);
      return undefined;
    }
    const sources = touched.flatMap((run) => run.from).filter((axis) => from.dims[axis] !== 1);
    if (touched.some((run) => innerIsOuter(factor, from, to, run))) this.#tieOuter(factor);
    const axes = touched.flatMap((run) => run.to).filter((axis) => to[axis] !== 1);
    const dims = axes.map((axis) => to[axis] as number);
    const spread = sources.map((axis) => from.dims[axis] as number);
    const labels =
      sources.length === factor.axes.length
        ? factor.labels
        : readStrided(factor.labels, spread, stridesAlong(factor, sources));
    const kept = new Map<number, Int32Array | undefined>();
    let innerAxis = axes[axes.length - 1]!;
    for (const run of touched) {
      const ins = run.from.filter((axis) => from.dims[axis] !== 1);
      const outs = run.to.filter((axis) => to[axis] !== 1);
      if (ins.includes(factor.axes[factor.inner]!)) innerAxis = outs[outs.length - 1]!;
      if (ins.length === 1 && outs.length === 1)
        kept.set(outs[0]!, factor.outer[factor.axes.indexOf(ins[0]!)]);
    }
    const needed = axes.filter((_, i) => this.#dependsOn(labels, dims, i));
    if (needed.length === 0) {
      this.labels.pin(labels);
      return undefined;
    }
    const neededDims = needed.map((axis) => to[axis] as number);
    const strides = stridesOf(dims);
    const reduced =
      needed.length === axes.length
        ? labels
        : readStrided(
            labels,
            neededDims,
            needed.map((axis) => strides[axes.indexOf(axis)]!),
          );
    if (!needed.includes(innerAxis)) innerAxis = needed[needed.length - 1]!;
    if (needed.length === 1) return axisFactor(needed[0]!, reduced);
    const made: Factor = {
      axes: needed,
      dims: neededDims,
      labels: reduced,
      inner: needed.indexOf(innerAxis),
      outer: needed.map((axis, i) =>
        axis === innerAxis ? undefined : (kept.get(axis) ?? this.labels.fresh(neededDims[i]!)),
      ),
    };
    this.boxes.push(made);
    return made;
  }

  /** The same elements must go at every outer index. */
  #tieOuter(factor: Factor): void {
    if (this.units === 'wholes') return;
    factor.axes.forEach((_, position) => {
      if (position === factor.inner) return;
      this.labels.uniteAll(firstAlong(factor.labels, factor.dims, position), factor.labels);
    });
  }

  #dependsOn(labels: Int32Array, dims: readonly number[], position: number): boolean {
    const first = firstAlong(labels, dims, position);
    return labels.some((label, e) => this.labels.find(label) !== this.labels.find(first[e]!));
  }
}

/**
 * Whether a run merges a box with its elements outside and its outer indices inside (`[D, heads]`): a kept element then
 * stands at its number among those kept, so that heads that keep different ones would change places.
 */
function innerIsOuter(factor: Factor, from: Labelled, to: Shape, run: Run): boolean {
  const own = run.from.filter((axis) => from.dims[axis] !== 1 && factor.axes.includes(axis));
  const merged = run.to.filter((axis) => to[axis] !== 1).length < own.length;
  const inner = own.indexOf(factor.axes[factor.inner]!);
  return merged && inner >= 0 && inner < own.length - 1;
}

/** For each element the label at index 0 of the axis at `position`. */
const firstAlong = (labels: Int32Array, dims: readonly number[], position: number): Int32Array =>
  readStrided(labels, dims, stridesOf(dims).with(position, 0));
