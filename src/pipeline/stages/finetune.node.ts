import { z } from 'zod';
import { UserError } from '../../common/errors.ts';
import { fileCheckpoints } from '../../train/checkpoint.node.ts';
import { finetune, finetuneOptions } from '../../train/finetune.ts';
import { openModel } from '../open.node.ts';
import { remember, type Stage } from './stage.ts';

const options = finetuneOptions.extend({
  teacher: z.string().optional().meta({
    description:
      'a model to learn from too (distillation); left out: with distill the dense model of the run',
    value: 'model',
  }),
});

/** Trains on the training images, with checkpoints in the folder. */
export const finetuneStage: Stage<typeof options> = {
  name: 'finetuned',
  options,
  usesData: () => true,
  async run({ context, graph, options: { teacher: named, ...options }, data, folder, dense, resume }) {
    if (!data) throw new UserError('finetuning needs --data');
    const { engine, seed, threads, progress, signal } = context;
    const { epochs, lr, distill } = options;
    const teacher = named ? await openModel(named) : distill ? dense : undefined;
    const { dataset, preprocessing } = data;
    const tuned = await finetune(
      engine,
      graph,
      dataset,
      { ...options, preprocessing, seed, threads, teacher },
      { progress, checkpoints: fileCheckpoints(folder), resume, signal },
    );
    remember(tuned.graph, `finetuned: ${epochs} epochs, lr ${lr}`);
    const training = tuned.history.steps.map(({ step, loss, lr }) => ({ step, loss, lr }));
    return { graph: tuned.graph, training, files: [] };
  },
};

export type FinetuneRecipe = z.output<typeof options>;
