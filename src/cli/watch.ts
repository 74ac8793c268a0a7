import { type Command, Option } from 'commander';
import type { Progress } from '../common/progress.ts';
import { type TrainingWatcher, watchAll } from '../train/watch.ts';
import { parse } from './options.ts';

export interface WatchOptions {
  /** A port, or true for any that is free. */
  board?: number | true;
  tensorboard?: string;
}

/** Adds the ways to follow a training. */
export function withWatchOptions(target: Command): Command {
  target.optionsGroup('Following the training:');
  return target
    .addOption(
      new Option(
        '--board [port]',
        'show loss, accuracy, speed and memory on a page of this machine, at any free port or the one given',
      ).argParser(parse.integer(0, 65535)),
    )
    .option('--tensorboard <dir>', 'write what TensorBoard reads into this folder')
    .optionsGroup('Options:');
}

/** Work that trains, followed by those who were asked for. */
export async function watched<T>(
  { board: port, tensorboard }: WatchOptions,
  progress: Progress,
  work: (watcher: TrainingWatcher | undefined) => Promise<T>,
): Promise<T> {
  const watchers: TrainingWatcher[] = [];
  if (tensorboard !== undefined) {
    const { EventFile } = await import('../report/tensorboard.node.ts');
    watchers.push(new EventFile(tensorboard));
  }
  if (port === undefined) return work(watchers[0]);
  const { Board } = await import('../report/board/server.node.ts');
  const board = await Board.open(port === true ? 0 : port);
  progress.note(`board: ${board.address}`);
  try {
    return await work(watchAll([...watchers, board]));
  } finally {
    await board.close();
  }
}
