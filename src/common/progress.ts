/** One bar: `total` units of work, `unit` their plural name ("images", "batches"). */
export interface ProgressTask {
  /** Units done so far, with figures to show beside the bar (`{ loss: '0.312' }`). */
  update(done: number, figures?: Record<string, string>): void;
  /** Ends the bar. */
  done(): void;
}

/** Where long work tells how far it is. The command line draws bars; tests and libraries pass `silent`. */
export interface Progress {
  task(label: string, total: number, unit: string): ProgressTask;
  /** One line of news that is neither a result nor an error (a skipped file, a resumed stage). */
  note(text: string): void;
}

/** Says nothing. */
export const silent: Progress = {
  task: () => ({ update() {}, done() {} }),
  note() {},
};

/** The same, but that each note is said once: of work that is done many times. */
export function sayingOnce(progress: Progress): Progress {
  const said = new Set<string>();
  return {
    task: (...task) => progress.task(...task),
    note(text) {
      if (said.has(text)) return;
      said.add(text);
      progress.note(text);
    },
  };
}
