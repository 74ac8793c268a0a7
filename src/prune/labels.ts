/**
 * Labels say which indices of which axes live and die together. Each is an integer in a union-find;
 * label 0 is the pinned one: what is united with it is never pruned.
 */
export class Labels {
  static readonly pinned = 0;
  #parent = new Int32Array(1 << 14);
  #count = 1;

  /** How many labels there are. */
  get count(): number {
    return this.#count;
  }

  /** `length` new labels. */
  fresh(length: number): Int32Array {
    if (this.#count + length > this.#parent.length) {
      const larger = new Int32Array(2 * (this.#count + length));
      larger.set(this.#parent);
      this.#parent = larger;
    }
    const made = new Int32Array(length);
    for (let i = 0; i < length; i++) {
      this.#parent[this.#count] = this.#count;
      made[i] = this.#count++;
    }
    return made;
  }

  /** The representative of a label's component. */
  find(label: number): number {
    const parent = this.#parent;
    let at = label;
    while (parent[at] !== at) {
      parent[at] = parent[parent[at]!]!;
      at = parent[at]!;
    }
    return at;
  }

  unite(a: number, b: number): void {
    const x = this.find(a);
    const y = this.find(b);
    if (x < y) this.#parent[y] = x;
    else this.#parent[x] = y;
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
}
