import * as z from 'zod';
import { Random } from '../common/random.ts';
import type { Value } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import type { Engine } from '../runtime/session.ts';
import type { GroupSlice, PruningGroup } from './group.ts';
import { type GroupReduction, groupReductions, type SliceScores } from './group-reduction.ts';
import { axisScores, type LocalScoreName, localScoreGraph } from './local-score.ts';
import { type NormalizerName, normalizers } from './normalizer.ts';
import type { Role } from './roles.ts';

/** What is looked for in images, of each scored parameter. */
export type Evidence = 'gradients' | 'curvatures' | 'inputNorms';

interface Criterion {
  readonly local: LocalScoreName;
  /** Needed of images; undefined: none are looked at. */
  readonly evidence?: Evidence;
  /** Where no normalizer is asked for; default: mean. */
  readonly normalizer?: NormalizerName;
  /** Looks at weights alone, and not at the scales of norms. */
  readonly weightsOnly?: boolean;
}

/** Criteria of importance but for `random`; docs/pruning.md has their formulas and sources. */
const criteria = {
  l1: { local: 'absolute' },
  l2: { local: 'squares' },
  lamp: { local: 'squares', normalizer: 'lamp' },
  fpgm: { local: 'distances', weightsOnly: true },
  taylor: { local: 'absoluteProducts', evidence: 'gradients' },
  'taylor-squared': { local: 'squaredProducts', evidence: 'gradients' },
  'taylor-multivariable': { local: 'absoluteSum', evidence: 'gradients' },
  hessian: { local: 'weightedSquares', evidence: 'curvatures' },
  wanda: { local: 'absoluteProducts', evidence: 'inputNorms', weightsOnly: true },
} as const satisfies Record<string, Criterion>;

const namesOf = <Name extends string>(table: Record<Name, unknown>) =>
  Object.keys(table) as [Name, ...Name[]];

export const importances = [...namesOf(criteria), 'random'] as const;
export type Importance = (typeof importances)[number];

const criterionOf = (importance: Importance): Criterion | undefined =>
  importance === 'random' ? undefined : criteria[importance];

/** What a criterion needs of images; undefined: none are looked at. */
export const evidenceOf = (importance: Importance): Evidence | undefined => criterionOf(importance)?.evidence;

/** How units are scored. */
export const importanceOptions = z.object({
  importance: z.enum(importances).default('l1').meta({
    description:
      'how channels are ranked; taylor, hessian and their like look at labelled images, wanda at any',
    value: 'how',
  }),
  groupReduction: z.enum(namesOf<GroupReduction>(groupReductions)).default('mean').meta({
    description: 'how the scores that the layers of a group give a channel become one',
    value: 'how',
  }),
  normalizer: z.enum(namesOf<NormalizerName>(normalizers)).optional().meta({
    description:
      'how the scores of a group become comparable with those of others; left out: mean, of lamp lamp',
    value: 'how',
  }),
  memory: z.number().gt(0).optional().meta({
    description:
      'GB that the process may take for importances that look at images: batches go in parts, activations are computed again where that is not enough; the same scores, slower',
    value: 'gb',
  }),
});

/** What images say of each scored parameter: of its shape; or the local scores themselves, of the indices of each axis. */
export type Sensitivities = ReadonlyMap<Value, Tensor | ReadonlyMap<number, Tensor>>;

export interface ScoreOptions extends z.input<typeof importanceOptions> {
  /** Of `random`. */
  seed?: number | undefined;
  /** Where the criterion needs images, of parameters in `scoredParameters`; one that is left out is not scored. */
  sensitivities?: Sensitivities | undefined;
}

const scoredRoles: ReadonlySet<Role> = new Set<Role>(['output', 'input', 'normScale']);

/** Slices that importance looks at: weights of Linear, Conv and norms; no biases, no embeddings. */
export const isScored = ({ role }: GroupSlice): boolean => scoredRoles.has(role);

/** The parameters whose values (and sensitivities) importance needs. */
export function scoredParameters(groups: readonly PruningGroup[]): Value[] {
  return [...new Set(groups.flatMap(({ slices }) => slices.filter(isScored).map((s) => s.parameter)))];
}

/** The normalizer that scores go through. */
export const normalizerOf = ({
  importance = 'l1',
  normalizer = criterionOf(importance)?.normalizer ?? 'mean',
}: Pick<ScoreOptions, 'importance' | 'normalizer'>): NormalizerName => normalizer;

/**
 * The importance of each unit of each group, as Torch-Pruning defines it: the local scores of its slices, reduced over the
 * group, normalized by the group. With the defaults a unit of twice the mean importance has 2.
 * @throws Error when sensitivities are needed and not given
 */
export async function scoreGroups(
  engine: Engine,
  groups: readonly PruningGroup[],
  { importance = 'l1', groupReduction = 'mean', normalizer, seed = 0, sensitivities }: ScoreOptions,
): Promise<Float64Array[]> {
  const criterion = criterionOf(importance);
  const normalize = normalizers[normalizerOf({ importance, normalizer })];
  if (!criterion) return randomScores(groups, seed).map(normalize);
  if (criterion.evidence && !sensitivities) throw new Error(`importance ${importance} without sensitivities`);
  const slices = await sliceScores(engine, groups, criterion, sensitivities);
  const reduce = groupReductions[groupReduction];
  return groups.map(({ size }, i) => normalize(reduce(slices[i]!, size)));
}

/** What each scored slice says of its group's units, by group; first the slice that the group is named after. */
async function sliceScores(
  engine: Engine,
  groups: readonly PruningGroup[],
  { local, evidence, weightsOnly }: Criterion,
  sensitivities: Sensitivities | undefined,
): Promise<SliceScores[][]> {
  const isRead = (slice: GroupSlice) => isScored(slice) && !(weightsOnly && slice.role === 'normScale');
  const session = await engine.load(localScoreGraph(local));
  try {
    const found = groups.map(() => new Map<GroupSlice, SliceScores>());
    for (const parameter of scoredParameters(groups)) {
      const sensitivity = sensitivities?.get(parameter);
      if (evidence && !sensitivity) continue;
      const axes = new Map<number, Float32Array>();
      for (const [i, { size, slices }] of groups.entries()) {
        for (const slice of slices) {
          if (slice.parameter !== parameter || !isRead(slice)) continue;
          let scores = axes.get(slice.axis);
          if (!scores) {
            scores =
              sensitivity instanceof Tensor || sensitivity === undefined
                ? await axisScores(session, parameter, slice.axis, sensitivity)
                : sensitivity.get(slice.axis)!.floats;
            axes.set(slice.axis, scores);
          }
          found[i]!.set(slice, unitScores(slice, scores, size));
        }
      }
      parameter.tensor!.release();
    }
    return groups.map(({ slices }, i) => {
      const named = slices.find(({ role }) => role === 'output');
      const inOrder = named ? [named, ...slices.filter((slice) => slice !== named)] : slices;
      return inOrder.map((slice) => found[i]!.get(slice)).filter((scores) => scores !== undefined);
    });
  } finally {
    await session.dispose();
  }
}

/** Sums over the indices that go with each unit. */
function unitScores({ units }: GroupSlice, scores: Float32Array, size: number): SliceScores {
  const sums = new Array<number | undefined>(size).fill(undefined);
  units.forEach((unit, index) => {
    if (unit >= 0) sums[unit] = (sums[unit] ?? 0) + scores[index]!;
  });
  return sums;
}

function randomScores(groups: readonly PruningGroup[], seed: number): Float64Array[] {
  return groups.map(({ size }, i) => {
    const random = new Random(seed, i);
    return Float64Array.from({ length: size }, () => random.uniform());
  });
}
