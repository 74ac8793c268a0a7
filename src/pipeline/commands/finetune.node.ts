import { join } from 'node:path';
import { UserError } from '../../common/errors.ts';
import { validated } from '../../common/options.ts';
import { evaluate } from '../../measure/accuracy.ts';
import { assertFullPrecision } from '../../quantize/record.ts';
import { presetLine, withPreset } from '../../train/presets.ts';
import { JobPrepared } from '../../train/torchrun/torchrun.node.ts';
import { isClassifier } from '../../zoo/model-info.ts';
import { saveModel } from '../../zoo/save.node.ts';
import { localContext, openModelData } from '../context.node.ts';
import { withDirectory } from '../directory-lock.node.ts';
import { openModel } from '../open.node.ts';
import { finetuneStage } from '../stages/finetune.node.ts';
import { keptIn } from '../stages/prune.node.ts';
import { assertElsewhere, type CommandOptions } from './command.node.ts';

export interface FinetunedModel {
  epochs: number;
  steps: number;
  loss: number;
  /** Null for a model that is no classifier. */
  top1: number | null;
  files: string[];
}

/** A training that is to be run elsewhere. */
export interface PreparedJob {
  /** The job's folder. */
  prepared: string;
  /** What runs it, word by word. */
  command: readonly string[];
}

/** Trains a model further and writes it. @param input options of the stage */
export async function finetuneModel(
  reference: string,
  output: string,
  input: Readonly<Record<string, unknown>>,
  command: CommandOptions & { data: string; resume?: boolean; prepareOnly?: boolean; newHead?: boolean },
): Promise<FinetunedModel | PreparedJob> {
  const options = validated(finetuneStage.options, withPreset(input));
  assertElsewhere(reference, output);
  const context = localContext(command);
  const { engine, threads, progress } = context;
  const preset = presetLine(input);
  if (preset) progress.note(preset);
  const graph = await openModel(reference, command);
  assertFullPrecision(graph, 'train');
  const data = await openModelData(graph, command.data, progress, command);
  const { resume, prepareOnly } = command;
  if (prepareOnly && options.engine !== 'torchrun') {
    throw new UserError('--prepare-only goes with --engine torchrun');
  }
  const kept = options.distillKind === 'feature' ? keptIn(reference) : undefined;
  const tuned = await withDirectory(output, () =>
    finetuneStage
      .run({ context, graph, options, data, folder: output, kept, resume, prepareOnly })
      .catch((error: unknown) => {
        if (error instanceof JobPrepared) return error;
        throw error;
      }),
  );
  if (tuned instanceof JobPrepared) return { prepared: join(output, 'torchrun'), command: tuned.command };
  const files = [...saveModel(tuned.graph, output), ...tuned.files];
  const { preprocessing, dataset } = data;
  const accuracy = { preprocessing, batchSize: 32, threads, progress };
  const top1 = isClassifier(graph) ? (await evaluate(engine, tuned.graph, dataset.val, accuracy)).top1 : null;
  const last = tuned.training!.at(-1)!;
  return { epochs: options.epochs, steps: last.step, loss: last.loss, top1, files };
}
