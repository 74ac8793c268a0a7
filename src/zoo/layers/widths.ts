/** timm's `make_divisible`: the nearest multiple of `divisor`, the next one where less than `limit` of `x` would be left. */
export function makeDivisible(x: number, divisor = 8, limit = 0.9): number {
  const rounded = Math.max(divisor, Math.floor(Math.trunc(x + divisor / 2) / divisor) * divisor);
  return rounded < limit * x ? rounded + divisor : rounded;
}
