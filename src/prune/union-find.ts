/** Disjoint sets of integers from 0; of each set the least stands for it. */
export class UnionFind {
  #parent = new Int32Array(1 << 14);
  #count = 1;

  /** How many integers there are. */
  get count(): number {
    return this.#count;
  }

  /** `length` new integers, each a set. */
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

  find(element: number): number {
    const parent = this.#parent;
    let at = element;
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
}
