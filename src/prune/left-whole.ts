import type { Value } from '../graph/graph.ts';
import { connectBoxes, distinctBoxes } from './attention-groups.ts';
import type { Dependencies } from './dependency.ts';
import type { GroupSlice, PruningGroup } from './group.ts';
import type { Labels } from './labels.ts';
import type { PinCause } from './pin-causes.ts';
import type { Role } from './roles.ts';

/** Channels of a layer, or heads of an attention, of which none can go, and why. */
export interface LeftWhole {
  /** The layer: its weight's name, less `.weight`. */
  readonly name: string;
  readonly side: 'outputs' | 'inputs' | 'heads';
  readonly channels: number;
  /**
   * What stands in the way; `uneven`: heads would not keep as many each, or channels are split in two ways at once; `unmade`:
   * no outputs of a layer go with them.
   */
  readonly kind: PinCause['kind'] | 'uneven' | 'unmade';
  readonly why: string;
  /** The input, output or node that is the cause. */
  readonly at: string | null;
}

type Reason = Pick<LeftWhole, 'kind' | 'why' | 'at'>;

/** Causes that say more of a model come first. */
const telling: readonly PinCause['kind'][] = ['output', 'opaque', 'softmax', 'input', 'fixed', 'place'];

const uneven: Reason = { kind: 'uneven', why: 'heads would not keep equal numbers', at: null };

const split: Reason = { kind: 'uneven', why: 'they are split into heads in two ways at once', at: null };

const unmade: Reason = { kind: 'unmade', why: 'no outputs of a layer go with them', at: null };

const mostTelling = (causes: readonly PinCause[]): Reason =>
  telling.flatMap((kind) => causes.find((cause) => cause.kind === kind) ?? [])[0] ?? uneven;

/**
 * Outputs and inputs of layers that are in no group, and heads that can't go as wholes.
 * @param groups what there is
 * @param elements the sweep that found channels and head dimensions
 * @param wholes the one that found heads
 */
export function leftWhole(
  groups: readonly PruningGroup[],
  elements: Dependencies,
  wholes: Dependencies,
  roleOf: (value: Value, axis: number) => Role,
): LeftWhole[] {
  return [...sides(groups, elements, roleOf), ...heads(groups, wholes, roleOf)];
}

const layerName = ({ name }: Value): string => name.replace(/\.weight$/, '');

/** Whether it is a weight: something with outputs. */
const isWeight = (value: Value, roleOf: (value: Value, axis: number) => Role): boolean =>
  value.tensor!.shape.length > 1 && value.tensor!.shape.some((_, axis) => roleOf(value, axis) === 'output');

function sides(
  groups: readonly PruningGroup[],
  dependencies: Dependencies,
  roleOf: (value: Value, axis: number) => Role,
): LeftWhole[] {
  const { labels } = dependencies.layouts;
  const refusals = refusalOfBoxes(dependencies);
  const slicesOf = new Map<Value, GroupSlice[]>();
  for (const slice of groups.flatMap(({ slices }) => slices)) {
    slicesOf.set(slice.parameter, [...(slicesOf.get(slice.parameter) ?? []), slice]);
  }
  return dependencies.constants
    .filter((value) => isWeight(value, roleOf))
    .flatMap((value) =>
      dependencies.layout(value).flatMap((factor): LeftWhole[] => {
        const role = roleOf(value, factor.axes[0]!);
        const slices = slicesOf.get(value)?.filter(({ axis }) => axis === factor.axes[0]) ?? [];
        const whole = factor.labels.filter((_, i) => slices.every(({ units }) => units[i] === -1));
        if ((role !== 'output' && role !== 'input') || whole.length === 0) return [];
        const free = whole.find((label) => !labels.isPinned(label));
        const reason =
          free === undefined
            ? mostTelling(labels.causes(whole))
            : (refusals.get(labels.find(free)) ?? unmade);
        return [
          {
            name: layerName(value),
            side: role === 'output' ? 'outputs' : 'inputs',
            channels: whole.length,
            ...reason,
          },
        ];
      }),
    );
}

/** Why attentions have no group of head dimensions, by the representatives of their elements. */
function refusalOfBoxes(dependencies: Dependencies): Map<number, Reason> {
  const { labels } = dependencies.layouts;
  const reasons = new Map<number, Reason>();
  const boxes = distinctBoxes(dependencies);
  const outer = new Set(
    boxes.flatMap((box) =>
      box.outer.flatMap((axis) => Array.from(axis ?? [], (label) => labels.find(label))),
    ),
  );
  for (const set of connectBoxes(boxes, labels)) {
    const elements = set
      .filter((box) => !box.labels.every((label) => labels.isPinned(label)))
      .flatMap((box) => [...box.labels]);
    const pinned = elements.filter((label) => labels.isPinned(label));
    const overlaps = elements.some((label) => outer.has(labels.find(label)));
    const reason = pinned.length === 0 && overlaps ? split : mostTelling(labels.causes(pinned));
    for (const label of elements) reasons.set(labels.find(label), reason);
  }
  return reasons;
}

/** Attentions whose heads are in no group. */
function heads(
  groups: readonly PruningGroup[],
  dependencies: Dependencies,
  roleOf: (value: Value, axis: number) => Role,
): LeftWhole[] {
  const { layouts, constants, layout } = dependencies;
  const { labels } = layouts;
  const grouped = new Set(
    groups.flatMap(({ kind, members }) => (kind === 'heads' ? members.units.flat() : [])),
  );
  const weights = constants.filter((value) => isWeight(value, roleOf));
  return connectBoxes(distinctBoxes(dependencies), labels).flatMap((set): LeftWhole[] => {
    const elements = new Set(set.flatMap((box) => [...box.labels].map((label) => labels.find(label))));
    if ([...elements].some((root) => grouped.has(root))) return [];
    const owner = weights.find((value) =>
      layout(value).some(
        ({ axes, labels: own }) =>
          roleOf(value, axes[0]!) === 'output' &&
          own.some((label) => !labels.isPinned(label) && elements.has(labels.find(label))),
      ),
    );
    const axes = set.flatMap((box) => box.outer.filter((axis) => axis !== undefined));
    const heads = axes.find((axis) => !areParts(axis, labels));
    if (!owner || !heads) return [];
    return [
      { name: layerName(owner), side: 'heads', channels: heads.length, ...mostTelling(labels.causes(heads)) },
    ];
  });
}

/** Outer indices that are taken by their places and by nothing else: queries, keys and values. */
export function areParts(axis: Iterable<number>, labels: Labels): boolean {
  const causes = labels.causes(axis);
  return causes.length > 0 && causes.every(({ kind }) => kind === 'place');
}
