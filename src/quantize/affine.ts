/** The lowest and highest number that a quantized value must be able to hold. */
export interface Range {
  readonly min: number;
  readonly max: number;
}

/** `real ~ (quantized - zeroPoint) * scale`, quantized in [0, levels]. */
export interface Affine {
  readonly scale: number;
  readonly zeroPoint: number;
}

/** Scales don't go below this (float32 epsilon), so that a value that is always 0 divides by something. */
const smallestScale = 2 ** -23;

/**
 * Scale and zero point for a range, stretched to contain 0 so that 0 is exact. In float32:
 * scale = max((max - min) / levels, 2^-23, or what is given in its place), zero point = -round(min / scale), half to even, within
 * [0, levels]. The numbers of PyTorch's observers for `quint8`, `per_tensor_affine`.
 */
export function affine(range: Range, levels: number, least = smallestScale): Affine {
  const min = Math.fround(Math.min(range.min, 0));
  const max = Math.fround(Math.max(range.max, 0));
  const scale = Math.max(Math.fround(Math.fround(max - min) / levels), least);
  const zeroPoint = -roundHalfEven(Math.fround(min / scale));
  return { scale, zeroPoint: Math.min(levels, Math.max(0, zeroPoint)) };
}

function roundHalfEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest < 0.5 || (rest === 0.5 && below % 2 === 0) ? below : below + 1;
}
