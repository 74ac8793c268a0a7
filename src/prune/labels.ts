import type { PinCause } from './pin-causes.ts';
import { UnionFind } from './union-find.ts';

/**
 * Labels say which indices of which axes live and die together. Each is an integer in a union-find;
 * label 0 is the pinned one: what is united with it is never pruned. Beside it is kept which labels met each
 * other, whether pinned or not, so that of what can't be pruned the cause is found.
 */
export class Labels {
  static readonly pinned = 0;
  readonly #united = new UnionFind();
  readonly #met = new UnionFind();
  readonly #pins = new Map<PinCause, Set<number>>();
  /** What is the cause of all that is pinned from here on. */
  cause: PinCause | undefined;

  /** How many labels there are. */
  get count(): number {
    return this.#united.count;
  }

  /** `length` new labels. */
  fresh(length: number): Int32Array {
    this.#met.fresh(length);
    return this.#united.fresh(length);
  }

  /** The representative of a label's component. */
  find(label: number): number {
    return this.#united.find(label);
  }

  unite(a: number, b: number): void {
    this.#united.unite(a, b);
    if (a !== Labels.pinned && b !== Labels.pinned) this.#met.unite(a, b);
    else if (a !== b) this.#blame(a + b);
  }

  uniteAll(a: ArrayLike<number>, b: ArrayLike<number>): void {
    for (let i = 0; i < a.length; i++) this.unite(a[i]!, b[i]!);
  }

  pin(labels: Iterable<number>): void {
    for (const label of labels) this.unite(label, Labels.pinned);
  }

  isPinned(label: number): boolean {
    return this.find(label) === Labels.pinned;
  }

  /** Why some labels are pinned, the first cause first; empty when none is. */
  causes(labels: Iterable<number>): PinCause[] {
    const asked = new Set(Array.from(labels, (label) => this.#met.find(label)));
    return [...this.#pins].flatMap(([cause, pinned]) => {
      for (const label of pinned) if (asked.has(this.#met.find(label))) return [cause];
      return [];
    });
  }

  #blame(label: number): void {
    if (!this.cause) return;
    const pinned = this.#pins.get(this.cause);
    if (pinned) pinned.add(this.#met.find(label));
    else this.#pins.set(this.cause, new Set([this.#met.find(label)]));
  }
}
