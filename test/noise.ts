import { Tensor } from '../src/graph/tensor.ts';

/** A 32-bit hash of a 32-bit integer. */
function mixed(value: number): number {
  let x = value ^ (value >>> 16);
  x = Math.imul(x, 0x7feb352d);
  x ^= x >>> 15;
  x = Math.imul(x, 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}

/** Numbers of mean 0 and variance 1 that `noise` in conformance/pruning_reference.py makes of the same name and shape, bit for bit. */
export function noise(name: string, shape: readonly number[]): Float64Array {
  let seed = 2166136261;
  for (const byte of new TextEncoder().encode(name)) seed = Math.imul(seed ^ byte, 16777619);
  const size = shape.reduce((product, length) => product * length, 1);
  return Float64Array.from(
    { length: size },
    (_, i) => (mixed((mixed(i) + seed) | 0) / 2 ** 32 - 0.5) * 12 ** 0.5,
  );
}

/** A parameter of a model of noise: every one random, biases and norms too, so that no term vanishes by chance. */
export function parameterNoise(name: string, shape: readonly number[]): Tensor {
  const values = noise(name, shape);
  if (shape.length > 1) {
    const inputs = shape.slice(1).reduce((product, length) => product * length, 1);
    return Tensor.float32(
      shape,
      Float32Array.from(values, (value) => value / inputs ** 0.5),
    );
  }
  const mean = /(weight|gamma)$/.test(name) ? 1 : 0;
  return Tensor.float32(
    shape,
    Float32Array.from(values, (value) => mean + 0.2 * value),
  );
}
