/** How long somebody waits for what comes one after the other. */
export class Stopwatch {
  #waited = 0;
  readonly #began = performance.now();

  /** Passes on what comes. */
  async *over<T>(values: AsyncIterable<T>): AsyncGenerator<T> {
    const source = values[Symbol.asyncIterator]();
    try {
      for (;;) {
        const asked = performance.now();
        const { value, done } = await source.next();
        this.#waited += performance.now() - asked;
        if (done) return;
        yield value;
      }
    } finally {
      await source.return?.();
    }
  }

  /** Seconds that were waited, and their share of the time since the start. */
  get waited(): { readonly seconds: number; readonly share: number } {
    return { seconds: this.#waited / 1000, share: this.#waited / (performance.now() - this.#began) };
  }
}
