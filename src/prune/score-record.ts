import * as z from 'zod';
import { UserError } from '../common/errors.ts';
import { printable } from '../common/printable.ts';
import { quoted } from '../common/quoted.ts';
import type { PruningGroup } from './group.ts';
import { type importanceOptions, normalizerOf } from './importance.ts';

const whole = z.number().int();
const label = z.string().max(40);

/** Scores of a model's groups, as a file keeps them. What a score is of is said so that a wrong model is noticed. */
export const scoreRecordSchema = z.strictObject({
  format: z.literal('pqv-scores-1'),
  /** How they were made, for people. */
  criterion: z.strictObject({ importance: label, groupReduction: label, normalizer: label }),
  groups: z.array(
    z.strictObject({
      name: z.string(),
      kind: z.string(),
      /** Axes of tensors that lose an index with a channel; first the one that the group is named after. */
      tensors: z.array(z.strictObject({ name: z.string(), axis: whole.min(0), length: whole.min(0) })),
      /** For each index of the first the channel that it goes with; -1: none. */
      channels: z.array(whole.min(-1)),
      /** One a channel. */
      scores: z.array(z.number()),
    }),
  ),
});

export type ScoreRecord = z.output<typeof scoreRecordSchema>;

type GroupRecord = ScoreRecord['groups'][number];

/**
 * What a criterion made of a model's groups.
 * @throws UserError when a score is no finite number
 */
export function scoreRecord(
  groups: readonly PruningGroup[],
  options: z.output<typeof importanceOptions>,
  scores: readonly Float64Array[],
): ScoreRecord {
  const { importance, groupReduction } = options;
  return {
    format: 'pqv-scores-1',
    criterion: { importance, groupReduction, normalizer: normalizerOf(options) },
    groups: groups.map((group, i) => {
      if (!scores[i]!.every(Number.isFinite)) {
        throw new UserError(`importance ${importance} of ${group.name} is not finite: are its weights?`);
      }
      return { ...described(group), scores: [...scores[i]!] };
    }),
  };
}

/** How scores were made, in words. */
export const criterionIn = ({ criterion: { importance, groupReduction, normalizer } }: ScoreRecord): string =>
  printable(`${importance}, group reduction ${groupReduction}, normalizer ${normalizer}`);

/**
 * The scores of these groups, out of a record.
 * @throws UserError when it is of other groups, naming the first that differs
 */
export function scoresIn(record: ScoreRecord, groups: readonly PruningGroup[]): readonly Float64Array[] {
  const refused = (why: string) =>
    new UserError(`scores of another model, or of other headDims (tied, free): ${why}`);
  if (record.groups.length > groups.length) {
    throw refused(`${record.groups.length} groups, the model has ${groups.length}`);
  }
  return groups.map((group, i) => {
    const found = record.groups[i];
    const wanted = described(group);
    if (!found) throw refused(`none for ${wanted.kind} of ${wanted.name}`);
    const { scores, ...head } = found;
    const difference = differing(head, wanted);
    if (difference) throw refused(`group ${i} is ${difference}`);
    if (scores.length !== group.size) {
      throw refused(`${scores.length} scores for ${group.size} channels of ${wanted.name}`);
    }
    return Float64Array.from(scores);
  });
}

/** How a record's group differs from the model's; undefined: not at all. */
function differing(
  found: Omit<GroupRecord, 'scores'>,
  wanted: Omit<GroupRecord, 'scores'>,
): string | undefined {
  const title = ({ kind, name }: Pick<GroupRecord, 'kind' | 'name'>) => `${kind} of ${quoted(name)}`;
  if (title(found) !== title(wanted)) return `${title(found)}, the model's is ${title(wanted)}`;
  if (JSON.stringify(found.tensors) !== JSON.stringify(wanted.tensors)) {
    return `${title(found)} with other tensors, axes or lengths than the model's`;
  }
  const same = found.channels.length === wanted.channels.length;
  return same && found.channels.every((channel, i) => channel === wanted.channels[i])
    ? undefined
    : `${title(found)} with other channels than the model's`;
}

/** A group without its scores. */
function described({ name, kind, slices }: PruningGroup): Omit<GroupRecord, 'scores'> {
  const first = slices.find(({ role }) => role === 'output');
  const inOrder = first ? [first, ...slices.filter((slice) => slice !== first)] : slices;
  return {
    name,
    kind,
    tensors: inOrder.map(({ parameter, axis, units }) => ({
      name: parameter.name,
      axis,
      length: units.length,
    })),
    channels: [...(inOrder[0]?.units ?? [])],
  };
}
