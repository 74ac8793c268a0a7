import { UserError } from '../common/errors.ts';
import { type DataType, elementCount, Tensor } from '../graph/tensor.ts';

/** Value of every float16, by its bits. */
let halves: Float32Array | undefined;

function halfValues(): Float32Array {
  if (halves) return halves;
  halves = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 31) halves[bits] = fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
    else if (exponent === 0) halves[bits] = sign * fraction * 2 ** -24;
    else halves[bits] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return halves;
}

type Widen = (data: Uint16Array | Float64Array) => Float32Array;

/** Element types of checkpoints that float32 holds, up to rounding. */
const widen: Partial<Record<DataType, Widen>> = {
  float16(data) {
    const values = halfValues();
    const result = new Float32Array(data.length);
    for (let i = 0; i < data.length; i++) result[i] = values[data[i]!]!;
    return result;
  },
  /** The upper half of a float32. */
  bfloat16(data) {
    const bits = new Uint32Array(data.length);
    for (let i = 0; i < data.length; i++) bits[i] = data[i]! << 16;
    return new Float32Array(bits.buffer);
  },
  float64: (data) => Float32Array.from(data),
};

/**
 * The tensor in float32, lazy as it was.
 * @param name the tensor's, for the error
 * @throws UserError on an element type that is no float of 16 to 64 bits
 */
export function toFloat32(name: string, tensor: Tensor): Tensor {
  if (tensor.dtype === 'float32') return tensor;
  const convert = widen[tensor.dtype];
  if (!convert) {
    throw new UserError(
      `tensor "${name}" is ${tensor.dtype}; parameters must be float32, float16 or bfloat16`,
    );
  }
  return new Tensor('float32', tensor.shape, () => {
    if (elementCount(tensor.shape) === 0) return new Float32Array(0);
    const data = convert(tensor.data as Uint16Array);
    tensor.release();
    return data;
  });
}
