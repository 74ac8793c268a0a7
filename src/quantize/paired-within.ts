import { pairBound } from './weight-pairs.ts';

/**
 * Changes integers `[in, out]` so that no two of rows 2j and 2j + 1 add up to more than `pairBound`, in magnitude: of a pair that does,
 * the one that was rounded away from zero with the least certainty goes back by one.
 * @param steps what was rounded, no pair of which exceeds the bound
 * @param up how sure the rounding is: above 0 up, below 0 down
 */
export function pairedWithin(
  integers: Int8Array,
  steps: Float32Array,
  up: ArrayLike<number>,
  outputs: number,
): void {
  for (let row = 0; row + 2 * outputs <= integers.length; row += 2 * outputs) {
    for (let first = row; first < row + outputs; first++) {
      const pair = [first, first + outputs];
      for (;;) {
        const sum = integers[first]! + integers[first + outputs]!;
        if (Math.abs(sum) <= pairBound) break;
        const away = pair.filter((i) => Math.abs(integers[i]!) > Math.abs(steps[i]!));
        const [least] = away.sort((a, b) => Math.abs(up[a]!) - Math.abs(up[b]!));
        if (least === undefined) break;
        integers[least]! -= Math.sign(sum);
      }
    }
  }
}
