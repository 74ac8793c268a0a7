/**
 * The random numbers of the toolkit: xoshiro128++ (Blackman and Vigna, 2019), seeded by hashing any
 * number of integers. A stream is a pure function of its keys (seed, epoch, what it is for, which
 * image), so work can be resumed in the middle, or done in another order, and draw the same numbers.
 */
export class Random {
  readonly #state: Uint32Array;
  #spareNormal: number | undefined;

  /** @param keys integers up to 2^53 that name the stream; their order counts */
  constructor(...keys: readonly number[]) {
    let hash = 0x9e3779b9;
    for (const key of keys) {
      hash = mixBits(hash ^ (key >>> 0)) + 0x9e3779b9;
      hash = mixBits(hash ^ (Math.floor(key / 2 ** 32) >>> 0)) + 0x9e3779b9;
    }
    this.#state = Uint32Array.from([1, 2, 3, 4], (step) => mixBits(hash + Math.imul(step, 0x9e3779b9)));
    if (this.#state.every((word) => word === 0)) this.#state[0] = 1;
  }

  /** A 32-bit unsigned integer. */
  next(): number {
    const s = this.#state;
    const s0 = s[0]!;
    const s1 = s[1]!;
    const s3 = s[3]!;
    const result = (rotateLeft((s0 + s3) | 0, 7) + s0) >>> 0;
    const s2 = s[2]! ^ s0;
    const t3 = s3 ^ s1;
    s[0] = s0 ^ t3;
    s[1] = s1 ^ s2;
    s[2] = s2 ^ (s1 << 9);
    s[3] = rotateLeft(t3, 11);
    return result;
  }

  /** A number in `[low, high)`. */
  uniform(low = 0, high = 1): number {
    return low + (high - low) * (this.next() / 2 ** 32);
  }

  /** An integer in `[0, count)`, each as likely as the next (draws beyond the last full block are redrawn). */
  below(count: number): number {
    const usable = 2 ** 32 - (2 ** 32 % count);
    for (;;) {
      const draw = this.next();
      if (draw < usable) return draw % count;
    }
  }

  /** A standard normal number (Box and Muller, 1958). */
  normal(): number {
    const spare = this.#spareNormal;
    if (spare !== undefined) {
      this.#spareNormal = undefined;
      return spare;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    const angle = 2 * Math.PI * this.uniform();
    this.#spareNormal = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }

  /** A number from Beta(alpha, alpha), `alpha` > 0: the ratio of one gamma draw to the sum of two. */
  beta(alpha: number): number {
    const a = this.#logGamma(alpha);
    const b = this.#logGamma(alpha);
    return 1 / (1 + Math.exp(b - a));
  }

  /**
   * The logarithm of a Gamma(shape, 1) draw, by Marsaglia and Tsang (2000); below 1 through
   * Gamma(shape) = Gamma(shape + 1) * U^(1 / shape), whose logarithm does not underflow.
   */
  #logGamma(shape: number): number {
    if (shape < 1) return this.#logGamma(shape + 1) + Math.log(1 - this.uniform()) / shape;
    const d = shape - 1 / 3;
    const c = 1 / Math.sqrt(9 * d);
    for (;;) {
      const x = this.normal();
      const v = (1 + c * x) ** 3;
      if (v <= 0) continue;
      if (Math.log(1 - this.uniform()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return Math.log(d * v);
    }
  }
}

/** `values` in random order (Fisher and Yates), as a new array. */
export function shuffled(values: Uint32Array, random: Random): Uint32Array {
  const order = values.slice();
  for (let last = order.length - 1; last > 0; last--) {
    const pick = random.below(last + 1);
    const value = order[pick]!;
    order[pick] = order[last]!;
    order[last] = value;
  }
  return order;
}

/** A bijection of 32-bit integers that scatters neighbours (MurmurHash3's finalizer). */
export function mixBits(value: number): number {
  let bits = value | 0;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}

function rotateLeft(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}
