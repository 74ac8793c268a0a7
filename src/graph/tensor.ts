import { UserError } from '../common/errors.ts';

export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

type TypedArrayConstructor = {
  new (length: number): TypedArray;
  new (buffer: ArrayBuffer, byteOffset?: number, length?: number): TypedArray;
  readonly BYTES_PER_ELEMENT: number;
};

/**
 * Every element type of ONNX: its TensorProto number, its width, and the array its elements live in.
 * Types JavaScript has no number for (float16, bfloat16, 8-bit floats, 4-bit integers packed two to a
 * byte) are kept as their bits.
 */
export const dataTypes = {
  float32: { onnx: 1, bits: 32, array: Float32Array },
  uint8: { onnx: 2, bits: 8, array: Uint8Array },
  int8: { onnx: 3, bits: 8, array: Int8Array },
  uint16: { onnx: 4, bits: 16, array: Uint16Array },
  int16: { onnx: 5, bits: 16, array: Int16Array },
  int32: { onnx: 6, bits: 32, array: Int32Array },
  int64: { onnx: 7, bits: 64, array: BigInt64Array },
  bool: { onnx: 9, bits: 8, array: Uint8Array },
  float16: { onnx: 10, bits: 16, array: Uint16Array },
  float64: { onnx: 11, bits: 64, array: Float64Array },
  uint32: { onnx: 12, bits: 32, array: Uint32Array },
  uint64: { onnx: 13, bits: 64, array: BigUint64Array },
  complex64: { onnx: 14, bits: 64, array: Float32Array },
  complex128: { onnx: 15, bits: 128, array: Float64Array },
  bfloat16: { onnx: 16, bits: 16, array: Uint16Array },
  float8e4m3fn: { onnx: 17, bits: 8, array: Uint8Array },
  float8e4m3fnuz: { onnx: 18, bits: 8, array: Uint8Array },
  float8e5m2: { onnx: 19, bits: 8, array: Uint8Array },
  float8e5m2fnuz: { onnx: 20, bits: 8, array: Uint8Array },
  uint4: { onnx: 21, bits: 4, array: Uint8Array },
  int4: { onnx: 22, bits: 4, array: Uint8Array },
  float4e2m1: { onnx: 23, bits: 4, array: Uint8Array },
  float8e8m0: { onnx: 24, bits: 8, array: Uint8Array },
  uint2: { onnx: 25, bits: 2, array: Uint8Array },
  int2: { onnx: 26, bits: 2, array: Uint8Array },
} as const satisfies Record<string, { onnx: number; bits: number; array: TypedArrayConstructor }>;

export type NumericType = keyof typeof dataTypes;
export type DataType = NumericType | 'string';
export type TensorData = TypedArray | string[];

/** Number of elements of a shape; 1 for a scalar. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, dim) => product * dim, 1);
}

/** Bytes that a tensor takes when stored, 4-bit types packed. Strings have no fixed width: NaN. */
export function storedBytes(dtype: DataType, shape: readonly number[]): number {
  if (dtype === 'string') return Number.NaN;
  return Math.ceil((elementCount(shape) * dataTypes[dtype].bits) / 8);
}

/** The bytes seen as elements of `dtype`: a view where the alignment allows it, else a copy. Little endian. */
export function viewBytes(dtype: NumericType, bytes: Uint8Array): TypedArray {
  const { array } = dataTypes[dtype];
  const width = array.BYTES_PER_ELEMENT;
  const aligned = bytes.byteOffset % width === 0 ? bytes : new Uint8Array(bytes);
  return new array(aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.byteLength / width);
}

/**
 * A dense, row-major, immutable array of numbers with a shape. Its elements may be read lazily: a
 * tensor that stands for a slice of a file costs nothing until `data` is asked for, and can be let go
 * again with `release()`.
 */
export class Tensor {
  readonly dtype: DataType;
  readonly shape: readonly number[];
  #data: TensorData | undefined;
  readonly #read: (() => TensorData) | undefined;

  /**
   * @param source the elements, or a function that reads them on first use
   * @throws UserError when the number of elements isn't what dtype and shape ask for
   */
  constructor(dtype: DataType, shape: readonly number[], source: TensorData | (() => TensorData)) {
    this.dtype = dtype;
    this.shape = shape;
    if (typeof source === 'function') this.#read = source;
    else this.#data = this.#checked(source);
  }

  /** The elements. Reads them now if they have not been read yet. Don't write into them. */
  get data(): TensorData {
    this.#data ??= this.#checked(this.#read!());
    return this.#data;
  }

  /** The elements of a float32 tensor. */
  get floats(): Float32Array {
    if (this.dtype !== 'float32') throw new UserError(`expected float32 data, got ${this.dtype}`);
    return this.data as Float32Array;
  }

  /** The elements of an integer tensor as numbers; for shapes, axes and indices. */
  get integers(): number[] {
    return Array.from(this.data as ArrayLike<number | bigint>, Number);
  }

  /** Number of elements. */
  get size(): number {
    return elementCount(this.shape);
  }

  /** The elements' bytes, without a copy. */
  get bytes(): Uint8Array {
    const { data } = this;
    if (Array.isArray(data)) throw new UserError('a string tensor has no byte form');
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  }

  /** Lets go of lazily read elements; the next use of `data` reads them again. */
  release(): void {
    if (this.#read) this.#data = undefined;
  }

  #checked(data: TensorData): TensorData {
    const bytes = Array.isArray(data) ? data.length : data.byteLength;
    const expected = this.dtype === 'string' ? this.size : storedBytes(this.dtype, this.shape);
    if (bytes !== expected) {
      throw new UserError(
        `a ${this.dtype} tensor of shape [${this.shape}] needs ${expected} bytes of data, got ${bytes}`,
      );
    }
    return data;
  }

  static float32(shape: readonly number[], data: Float32Array | readonly number[]): Tensor {
    return new Tensor('float32', shape, data instanceof Float32Array ? data : Float32Array.from(data));
  }

  /** A one-dimensional int64 tensor, as shapes and axes are. */
  static int64(values: readonly number[], shape: readonly number[] = [values.length]): Tensor {
    return new Tensor('int64', shape, BigInt64Array.from(values, BigInt));
  }

  static scalar(value: number, dtype: 'float32' | 'int64' = 'float32'): Tensor {
    return dtype === 'int64' ? Tensor.int64([value], []) : Tensor.float32([], [value]);
  }

  static zeros(dtype: NumericType, shape: readonly number[]): Tensor {
    const { array } = dataTypes[dtype];
    return new Tensor(dtype, shape, new array(storedBytes(dtype, shape) / array.BYTES_PER_ELEMENT));
  }
}
