import { UserError } from '../common/errors.ts';

/** The names that the values of a graph bear, each once. */
export class Names {
  readonly #taken = new Set<string>();
  #counter: number;

  /** @param after names made up here are numbered on from those of a graph that this one copies */
  constructor(after?: Names) {
    this.#counter = after ? after.#counter : 0;
  }

  /** @throws UserError when it is taken */
  claim(name: string): string {
    if (this.#taken.has(name)) throw new UserError(`the graph already has a value named "${name}"`);
    this.#taken.add(name);
    return name;
  }

  release(name: string): void {
    this.#taken.delete(name);
  }

  /** A free name: the hint itself, or the hint and a number. */
  unique(hint: string): string {
    if (!this.#taken.has(hint)) return hint;
    for (;;) {
      const name = `${hint}_${++this.#counter}`;
      if (!this.#taken.has(name)) return name;
    }
  }
}
