import type { z } from 'zod';
import type { OptionsSchema } from '../common/options.ts';
import type { Graph } from '../graph/graph.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Engine } from '../runtime/session.ts';
import type { FileContents } from './file-contents.ts';

/** A file to be written, or just written and to be checked. */
export interface Target<Options> {
  /** Rewrites the graph for the file, and tells what the file must compute. */
  readonly engine: Engine;
  readonly graph: Graph;
  /** Of a draft; files written beside it come along when it takes its place. */
  readonly path: string;
  readonly options: Options;
}

/** A kind of file that a runtime loads: one row of `formats.node.ts`, and all that is known of it. */
export interface Format<Schema extends OptionsSchema = OptionsSchema> {
  /** As `--format` and reports name it. */
  readonly name: string;
  /** Of its files, with the dot. */
  readonly extension: `.${string}`;
  /** Who loads it, for reports: `PyTorch Lite on Android and iOS`. */
  readonly about: string;
  /** How its files take prepared images, where not as the graph does: any number `[N, C, H, W]` in the graph's type. */
  readonly images?: 'one, channels last';
  /** What runs it here, and so can time it. */
  readonly runtime?: Runtime;
  /** What can be asked of it beside the model; on the command line too. */
  readonly options: Schema;
  /** @throws UserError when the place can't be written, or an op has no form there */
  write(target: Target<z.output<Schema>>): Promise<void>;
  /**
   * Looks at what was written: by running it where a runtime is at hand.
   * @returns why it was not run but checked by its structure, if so
   * @throws Error when the file is broken or computes something else than the graph
   */
  verify(target: Target<z.output<Schema>>): Promise<string | undefined>;
  /** Whether a file is one of it, where its name alone does not tell. */
  isOne?(path: string): boolean;
  /**
   * What a file of it holds, whoever wrote it; without it only that is told which its card says.
   * @throws UserError when it is no such file, or is damaged
   */
  contents?(path: string): FileContents;
}

/** A row of the table; the check that `write` and `verify` take the options declared is made here. */
export const format = <Schema extends OptionsSchema>(row: Format<Schema>): Format => row;
