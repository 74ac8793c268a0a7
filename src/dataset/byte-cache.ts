/** What a load gives the cache: a value and what it weighs. */
export interface Weighed<T> {
  readonly value: T;
  readonly bytes: number;
}

/**
 * Keeps what was used last, up to so many bytes. What is asked for while it is being loaded is loaded once;
 * a load that fails is forgotten.
 */
export class ByteCache<T> {
  readonly #limit: number;
  readonly #largest: number;
  readonly #entries = new Map<string, { loading: Promise<T>; bytes: number }>();
  #bytes = 0;

  /**
   * @param limit bytes in all; the newest entry stays even where it alone has more
   * @param largest entries of more bytes are given but not kept; default: any size
   */
  constructor(limit: number, largest = Number.POSITIVE_INFINITY) {
    this.#limit = limit;
    this.#largest = largest;
  }

  /** Bytes of what is loaded. */
  get bytes(): number {
    return this.#bytes;
  }

  get(key: string, load: () => Promise<Weighed<T>>): Promise<T> {
    const known = this.#entries.get(key);
    if (known) {
      // A map lists its keys by when they were set: the least recently used come first.
      this.#entries.delete(key);
      this.#entries.set(key, known);
      return known.loading;
    }
    const entry = { loading: this.#load(key, load), bytes: 0 };
    this.#entries.set(key, entry);
    return entry.loading;
  }

  async #load(key: string, load: () => Promise<Weighed<T>>): Promise<T> {
    try {
      const { value, bytes } = await load();
      const entry = this.#entries.get(key);
      if (bytes > this.#largest) this.#entries.delete(key);
      else if (entry) {
        entry.bytes = bytes;
        this.#bytes += bytes;
      }
      for (const [oldest, { bytes: freed }] of this.#entries) {
        if (this.#bytes <= this.#limit) break;
        if (oldest === key || freed === 0) continue;
        this.#entries.delete(oldest);
        this.#bytes -= freed;
      }
      return value;
    } catch (error) {
      this.#entries.delete(key);
      throw error;
    }
  }
}
