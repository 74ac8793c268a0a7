import type { z } from 'zod';
import type { OptionsSchema } from '../../common/options.ts';
import type { Graph } from '../../graph/graph.ts';
import type { Kept } from '../../prune/apply.ts';
import type { ReportStage, TrainingPoint } from '../../report/schema.ts';
import type { Context, ModelData } from '../context.node.ts';

/** What a stage works on. */
export interface StageInput<Options> {
  readonly context: Context;
  readonly graph: Graph;
  readonly options: Options;
  /** Where none were given: undefined. */
  readonly data: ModelData | undefined;
  /** For what the stage leaves beside its model: checkpoints, `pruning.json`. */
  readonly folder: string;
  /** The model that a run began with: the teacher, where none is named. */
  readonly dense?: Graph;
  /** What pruning has kept of that, where it has pruned. */
  readonly kept?: Kept | undefined;
  /** Go on from what an interrupted try left in the folder. */
  readonly resume?: boolean;
  /** Only write what another machine needs for the work. */
  readonly prepareOnly?: boolean;
}

export interface StageOutput {
  graph: Graph;
  /** One point an update, of stages that train. */
  training?: TrainingPoint[];
  /** Files written into the folder, to be kept. */
  files: string[];
}

/** One step of the way, as its own command and `optimize` take it. */
export interface Stage<Schema extends OptionsSchema = OptionsSchema> {
  /** What a model is after it. */
  readonly name: ReportStage['stage'];
  /** Those of its pass, and of what feeds it. */
  readonly options: Schema;
  /** Whether it looks at the data. */
  usesData(options: z.output<Schema>): boolean;
  /** Files that options name and the result depends on. */
  filesRead?(options: z.output<Schema>): string[];
  /**
   * @throws UserError when it can't be done with this model and these data
   * @throws InterruptedError when the context's signal fires
   */
  run(input: StageInput<z.output<Schema>>): Promise<StageOutput>;
}
