import { UserError } from '../common/errors.ts';
import { Builder } from '../graph/builder.ts';
import type { Graph, Shape, Value } from '../graph/graph.ts';
import type { Kept } from '../prune/apply.ts';
import { keptChannels } from '../prune/kept-channels.ts';
import { residualBlocks } from './residual-blocks.ts';

/** What each block hands on: the stream behind the last branch that was added to it. */
export const blockOutputs = (graph: Graph): Value[] =>
  residualBlocks(graph).flatMap((branches) => branches.at(-1)?.end.output() ?? []);

/**
 * A copy of a teacher that also gives what its blocks hand on, of that the channels that its pupil still has.
 * @param kept by the pruning that made the pupil of the teacher; left out where none has
 * @returns the copy, and the names of those outputs
 * @throws UserError where no blocks are found, or the pupil's are others
 */
export function withFeatures(
  teacher: Graph,
  pupil: Graph,
  kept: Kept | undefined,
): { graph: Graph; features: string[] } {
  const theirs = blockOutputs(teacher);
  const ours = blockOutputs(pupil);
  if (ours.length === 0) {
    throw new UserError(
      'feature distillation learns what blocks hand on, but no residual branches were found',
    );
  }
  if (theirs.length !== ours.length) {
    throw new UserError(
      `the teacher has ${theirs.length} blocks, the model ${ours.length}: feature distillation needs the same`,
    );
  }
  const channels = kept && keptChannels(teacher, kept);
  const { graph, values } = teacher.clone();
  const b = new Builder(graph);
  const features = theirs.map((value, i) => {
    let feature = values.get(value)!;
    for (const [axis, indices] of channels?.(value) ?? []) {
      feature = b.op('Gather', [feature, b.ints(indices)], { axis });
    }
    assertAlike(feature.shape, ours[i]!.shape, kept);
    if (!graph.outputs.includes(feature)) graph.outputs.push(feature);
    return feature.name;
  });
  return { graph, features };
}

function assertAlike(theirs: Shape | undefined, ours: Shape | undefined, kept: Kept | undefined): void {
  const sizes = (shape: Shape | undefined) => shape?.slice(1).join(' x ');
  if (sizes(theirs) === sizes(ours)) return;
  throw new UserError(
    `the teacher's blocks hand on ${sizes(theirs)} numbers an image, the model's ${sizes(ours)}: feature distillation needs the model that it was pruned from${kept ? '' : ', and what pruning kept (pruning.json in its folder)'}`,
  );
}
