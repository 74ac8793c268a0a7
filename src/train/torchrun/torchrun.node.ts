import { join } from 'node:path';
import { InterruptedError } from '../../common/errors.ts';
import { type Progress, silent } from '../../common/progress.ts';
import type { Split } from '../../dataset/dataset.ts';
import type { Graph } from '../../graph/graph.ts';
import type { Engine } from '../../runtime/session.ts';
import { architectureName } from '../../zoo/model-info.ts';
import { countBatches } from '../../zoo/state.ts';
import { batchNormTraining } from '../batch-norm.ts';
import type { History } from '../checkpoint.ts';
import { type FinetuneContext, type FinetuneResult, type Finetuner, notesOn } from '../finetune.ts';
import { type FinetuneOptions, type Settings, settingsOf } from '../finetune-options.ts';
import { type Plan, planOf } from '../plan.ts';
import { fakeQuantizationOf } from '../quantization-aware.ts';
import type { TrainingWatcher } from '../watch.ts';
import type { TrainerEvent } from './events.ts';
import { writeJob } from './job-folder.node.ts';
import { launch, torchrunArguments } from './launch.node.ts';
import { isFinished, resultOf } from './result.node.ts';
import type { TorchrunOptions } from './torchrun-options.ts';

/** The job is written, and waits for being run. */
export class JobPrepared extends InterruptedError {
  /** What runs it. */
  readonly command: readonly string[];
  constructor(command: readonly string[]) {
    super(`run it with: ${command.join(' ')}`);
    this.command = command;
  }
}

/** How and where. */
export interface TorchrunPlace extends Omit<TorchrunOptions, 'engine'> {
  /** Where the job is written: into `torchrun/` of this folder. */
  folder: string;
  /** Write the job and go no further. */
  prepareOnly?: boolean | undefined;
}

/**
 * Trains as `finetune` does, under the same recipe, but by PyTorch in processes that `torchrun` starts: exports the model
 * as TorchScript, follows the training, reads the weights back and checks that they give the same outputs here. What
 * is drawn at random is drawn by Python, so that the weights are not those of `finetune`.
 *
 * @throws UserError when the model has no TorchScript form, there is no Python with torch, or the training fails
 * @throws InterruptedError when the context's signal was aborted, and `JobPrepared` where nothing more is to be done
 */
export const torchrunFinetuner =
  (place: TorchrunPlace): Finetuner =>
  (engine, graph, data, input, context = {}) =>
    trainJob(engine, graph, data, input, context, place);

async function trainJob(
  engine: Engine,
  graph: Graph,
  data: { readonly train: Split; readonly val: Split },
  input: FinetuneOptions,
  { progress = silent, signal, checkpointEvery = 300, resume = false, watcher }: FinetuneContext,
  { folder, prepareOnly, ...options }: TorchrunPlace,
): Promise<FinetuneResult> {
  const given = settingsOf(input);
  const plan = planOf(data.train, given);
  const norms = batchNormTraining(graph, given.batchNorm, plan.batchSize);
  const settings = { ...given, batchNorm: norms?.mode };
  const path = join(folder, 'torchrun');
  const command = torchrunArguments(path, options);
  const int8 = await fakeQuantizationOf(engine, graph, settings, progress);
  const job = await writeJob(path, {
    ...{ graph, data, settings, int8, plan, checkpointEvery, resume, progress },
  });
  if (!isFinished(job)) {
    if (prepareOnly) throw new JobPrepared(['torchrun', ...command]);
    for (const line of notesOn(graph, norms)) progress.note(line);
    const follower = new Follower(graph, settings, plan, progress, watcher);
    try {
      const threads = settings.threads ?? 1;
      const last = await launch({
        folder: path,
        options,
        threads,
        signal,
        tell: (event) => follower.hear(event),
      });
      if (last.event === 'stopped') {
        throw new InterruptedError(
          `stopped in epoch ${last.epoch + 1} of ${settings.epochs}, batch ${last.batch}; resume to go on`,
        );
      }
    } finally {
      follower.end();
    }
  }
  const result = await resultOf(engine, graph, job);
  if (settings.batchNorm === 'train') {
    countBatches(result.graph, result.history.epochs.length * plan.batchesAnEpoch);
  }
  return result;
}

/** Shows what the trainer tells. */
class Follower {
  readonly #bar;
  readonly #history: History = { steps: [], epochs: [] };

  constructor(
    readonly graph: Graph,
    readonly settings: Settings,
    readonly plan: Plan,
    readonly progress: Progress,
    readonly watcher: TrainingWatcher | undefined,
  ) {
    this.#bar = progress.task('finetune', settings.epochs * plan.imagesAnEpoch, 'images');
    watcher?.begin({
      name: architectureName(graph) ?? graph.name,
      epochs: settings.epochs,
      totalSteps: plan.totalSteps,
      imagesAStep: plan.batchSize * settings.accumulate,
      history: this.#history,
    });
  }

  hear(event: TrainerEvent): void {
    const { epochs } = this.settings;
    const { progress, watcher } = this;
    switch (event.event) {
      case 'begin':
        progress.note(
          `PyTorch ${event.torch}, ${event.processes} process${event.processes > 1 ? 'es' : ''} on ${event.device}, ${event.precision}`,
        );
        return;
      case 'resumed':
        Object.assign(this.#history, event.history);
        progress.note(`resumed after epoch ${event.epoch}, batch ${event.batch}`);
        return;
      case 'step':
        this.#history.steps.push(event);
        watcher?.step(event);
        this.#bar.update((event.epoch - 1) * this.plan.imagesAnEpoch + event.images, {
          epoch: `${event.epoch}/${epochs}`,
          loss: event.loss.toFixed(4),
          lr: event.lr.toExponential(2),
        });
        return;
      case 'epoch':
        this.#history.epochs.push(event);
        watcher?.epoch(event);
    }
  }

  end(): void {
    this.#bar.done();
    this.watcher?.end();
  }
}
