import { z } from 'zod';
import { UserError } from '../../common/errors.ts';
import { augmentationOf, augmentOptions } from '../../dataset/augment-options.ts';
import { finetune, finetuneModelOptions } from '../../library/finetune.ts';
import { fileCheckpoints } from '../../train/checkpoint.node.ts';
import { assertTaught, presetNames, presets } from '../../train/presets.ts';
import { openModel } from '../open.node.ts';
import type { Stage } from './stage.ts';

const options = z.strictObject({
  preset: z
    .enum(presetNames)
    .optional()
    .meta({
      description: `options for where none are given, epochs among them: ${presetNames.map((name) => `${name}: ${presets[name].about}`).join('; ')}`,
      value: 'name',
    }),
  ...finetuneModelOptions.shape,
  ...augmentOptions.shape,
  teacher: z.string().optional().meta({
    description:
      'a model to learn from too (distillation); left out: with distill, or a kind of it that is not soft, the dense model of the run',
    value: 'model',
  }),
});

/** Trains on the training images, with checkpoints in the folder. */
export const finetuneStage: Stage<typeof options> = {
  name: 'finetuned',
  options,
  usesData: () => true,
  async run({
    context,
    graph,
    options: { teacher: named, preset, ...options },
    data,
    folder,
    dense,
    kept,
    resume,
  }) {
    if (!data) throw new UserError('finetuning needs --data');
    const teacher = named ?? (options.distill || options.distillKind !== 'soft' ? dense : undefined);
    assertTaught(preset, teacher);
    const { engine, ...surroundings } = context;
    const { crop, shift, cropScale, flip, erase, eraseMode, randAugment, jitter, ...training } = options;
    const tuned = await finetune(engine, graph, {
      ...training,
      ...surroundings,
      data: data.dataset,
      augment: augmentationOf({
        ...{ crop, shift, cropScale, flip },
        ...{ erase, eraseMode, randAugment, jitter },
      }),
      kept,
      teacher: typeof teacher === 'string' ? await openModel(teacher) : teacher,
      checkpoints: fileCheckpoints(folder, context.progress),
      resume,
    });
    const points = tuned.history.steps.map(({ step, loss, lr }) => ({ step, loss, lr }));
    return { graph: tuned.graph, training: points, files: [] };
  },
};

export type FinetuneRecipe = z.output<typeof options>;
