import * as z from 'zod';
import { UserError } from '../../common/errors.ts';
import { augmentationOf, augmentOptions } from '../../dataset/augment-options.ts';
import { finetune, finetuneModelOptions } from '../../library/finetune.ts';
import { fileCheckpoints } from '../../train/checkpoint.node.ts';
import { assertTaught, presetNames, presets } from '../../train/presets.ts';
import { torchrunFinetuner } from '../../train/torchrun/torchrun.node.ts';
import { torchrunOptions } from '../../train/torchrun/torchrun-options.ts';
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
  ...torchrunOptions.shape,
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
  async run(input) {
    const { context, graph, data, folder, dense, kept, resume, prepareOnly } = input;
    const { teacher: named, preset, engine: trains, ...given } = input.options;
    const { nprocPerNode, nnodes, engineArgs, amp, ...options } = given;
    if (!data) throw new UserError('finetuning needs --data');
    const teacher = named ?? (options.distill || options.distillKind !== 'soft' ? dense : undefined);
    assertTaught(preset, teacher);
    const { engine, ...surroundings } = context;
    const { crop, shift, cropScale, flip, erase, eraseMode, randAugment, jitter, ...training } = options;
    const place = { folder, prepareOnly, nprocPerNode, nnodes, engineArgs, amp };
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
      ...(trains === 'torchrun' ? { finetuner: torchrunFinetuner(place) } : {}),
    });
    const points = tuned.history.steps.map(({ step, loss, lr }) => ({ step, loss, lr }));
    return { graph: tuned.graph, training: points, files: [] };
  },
};

export type FinetuneRecipe = z.output<typeof options>;
