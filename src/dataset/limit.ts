/** Runs tasks at most so many at a time, in the order they came. */
export interface Limit {
  run<T>(task: () => Promise<T>): Promise<T>;
  /** Tasks that have not begun never will: their promises reject. */
  close(): void;
}

/** @param most tasks at the same time */
export function concurrencyLimit(most: number): Limit {
  const waiting: ((open: boolean) => void)[] = [];
  let running = 0;
  let closed = false;
  return {
    async run(task) {
      if (running >= most && !closed) {
        const open = await new Promise<boolean>((resume) => waiting.push(resume));
        if (!open) throw new Error('cancelled');
      } else {
        if (closed) throw new Error('cancelled');
        running++;
      }
      try {
        return await task();
      } finally {
        // The slot passes to the next task directly, or is free.
        const next = waiting.shift();
        if (next) next(true);
        else running--;
      }
    },
    close() {
      closed = true;
      for (const resume of waiting.splice(0)) resume(false);
    },
  };
}
