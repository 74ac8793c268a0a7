import { normalizeAxis } from '../dim.ts';
import { isComputed } from './arguments.ts';
import type { OpArguments } from './signature.ts';

/** What a Slice takes of one axis, as it is written: ends may count from the back and lie beyond the axis. */
export interface Range {
  readonly axis: number;
  readonly start: number;
  readonly end: number;
  readonly step: number;
}

/** What a Slice takes, axis by axis; undefined when any of it is computed. */
export function rangesOf(args: OpArguments['Slice'], rank: number): Range[] | undefined {
  const { starts, ends, axes, steps } = args;
  if (isComputed(starts) || isComputed(ends) || isComputed(axes) || isComputed(steps)) return undefined;
  return starts.map((start, i) => ({
    axis: normalizeAxis(axes?.[i] ?? i, rank),
    start,
    end: ends[i]!,
    step: steps?.[i] ?? 1,
  }));
}

/** Where a range begins and where it has ended, both within an axis of known length. */
function bounds(length: number, { start, end, step }: Range): { from: number; to: number } {
  const clamp = (x: number, low: number, high: number) =>
    Math.min(Math.max(x < 0 ? x + length : x, low), high);
  return step > 0
    ? { from: clamp(start, 0, length), to: clamp(end, 0, length) }
    : { from: clamp(start, 0, length - 1), to: clamp(end, -1, length - 1) };
}

/** How many of an axis of known length a range takes. */
export function slicedLength(length: number, range: Range): number {
  const { from, to } = bounds(length, range);
  return Math.max(0, Math.ceil((to - from) / range.step));
}

/** The indices that a range takes of an axis of known length. */
export function slicedIndices(length: number, range: Range): number[] {
  const { from } = bounds(length, range);
  return Array.from({ length: slicedLength(length, range) }, (_, i) => from + i * range.step);
}

/** What a Pad adds to one axis; negative: what it cuts off. */
export interface Padding {
  readonly axis: number;
  readonly before: number;
  readonly after: number;
}

/** What a Pad adds, axis by axis; undefined when it is computed. */
export function paddingOf({ pads, axes }: OpArguments['Pad'], rank: number): Padding[] | undefined {
  if (isComputed(pads) || isComputed(axes)) return undefined;
  const padded = axes ?? Array.from({ length: rank }, (_, axis) => axis);
  return padded.map((axis, i) => ({
    axis: normalizeAxis(axis, rank),
    before: pads[i]!,
    after: pads[i + padded.length]!,
  }));
}

/** Which element of an axis each of one is that is padded with copies (`edge`, `reflect`, `wrap`). */
export function copiedPlaces(mode: string, length: number, before: number, after: number): number[] {
  return Array.from({ length: before + length + after }, (_, i) => {
    const place = i - before;
    if (mode === 'edge') return Math.min(Math.max(place, 0), length - 1);
    if (mode === 'wrap') return ((place % length) + length) % length;
    const period = Math.max(1, 2 * (length - 1));
    const turned = ((place % period) + period) % period;
    return turned < length ? turned : period - turned;
  });
}
