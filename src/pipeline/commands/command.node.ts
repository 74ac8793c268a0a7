import { existsSync, realpathSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { z } from 'zod';
import { UserError } from '../../common/errors.ts';
import type { OptionsSchema } from '../../common/options.ts';

import { silent } from '../../common/progress.ts';
import type { DataOptions } from '../../dataset/data-options.ts';

import { countMacs } from '../../graph/cost.ts';
import type { Graph } from '../../graph/graph.ts';
import type { Provider } from '../../runtime/provider.ts';
import type { TrainingWatcher } from '../../train/watch.ts';
import { parameterCount } from '../../zoo/describe.ts';
import type { ModelReading } from '../../zoo/load-options.ts';
import { modelFiles } from '../../zoo/save.node.ts';
import { type ModelData, openModelData } from '../context.node.ts';
import type { Stage } from '../stages/stage.ts';

/** What every command takes beside its own options. */
export interface CommandOptions extends ModelReading, DataOptions {
  threads: number;
  seed: number;
  provider?: Provider;
  signal?: AbortSignal;
  /** Who follows a training. */
  watcher?: TrainingWatcher | undefined;
}

/** Parameters and multiply-accumulates of a model. */
export interface ModelSize {
  parameters: number;
  macs: number;
}

export const sizeOf = (graph: Graph): ModelSize => ({
  parameters: parameterCount(graph),
  macs: countMacs(graph),
});

/** @throws UserError when the output folder is the model's own, whose weights would be lost */
export function assertElsewhere(reference: string, output: string): void {
  if (!existsSync(reference) || !existsSync(output)) return;
  const model = realpathSync(reference);
  const folder = realpathSync(output);
  const names: string[] = Object.values(modelFiles);
  if (model === folder || (dirname(model) === folder && names.includes(basename(model)))) {
    throw new UserError(`${output} is where the model is, and it would be lost: write to another folder`);
  }
}

/** The data that a command was given, where its stage looks at them. @throws UserError as `openModelData` */
export async function openStageData<Schema extends OptionsSchema>(
  stage: Stage<Schema>,
  options: z.output<Schema>,
  graph: Graph,
  { data: reference, progress, ...reading }: CommandOptions & { data?: string },
): Promise<ModelData | undefined> {
  if (reference === undefined || !stage.usesData(options)) return undefined;
  return openModelData(graph, reference, progress ?? silent, reading);
}
