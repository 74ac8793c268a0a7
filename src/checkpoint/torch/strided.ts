import { UserError } from '../../common/errors.ts';
import { dataTypes, elementCount, type NumericType, Tensor, viewBytes } from '../../graph/tensor.ts';
import type { ByteSource } from '../safetensors.ts';

/** Elements in a file, one storage. */
export interface Storage {
  readonly key: string;
  /** Where its bytes begin in the file. */
  readonly start: number;
  /** How many there are. */
  readonly bytes: number;
}

/** How a tensor lies in its storage, in elements. */
export interface Strides {
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

/** Elements that a tensor may have beyond those of its storage, which it repeats. */
const repeatLimit = 1 << 20;

/**
 * A tensor of a storage, row-major whatever its strides; read when it is asked for.
 * @throws UserError when it does not lie in its storage, or repeats it beyond reason
 */
export function stridedTensor(
  source: ByteSource,
  storage: Storage,
  dtype: NumericType,
  layout: Strides,
): Tensor {
  const width = dataTypes[dtype].array.BYTES_PER_ELEMENT;
  const { shape, strides, offset } = layout;
  const fail = (what: string): never => {
    throw new UserError(`a tensor [${shape.slice(0, 8)}] ${what} storage ${storage.key}`);
  };
  const natural = [offset, ...shape, ...strides].every((n) => Number.isSafeInteger(n) && n >= 0);
  if (!natural || shape.length !== strides.length || shape.length > 16) fail('has no sensible place in');
  const count = elementCount(shape);
  const held = storage.bytes / width;
  const last = shape.reduce((at, size, axis) => at + (size - 1) * strides[axis]!, offset);
  if (count > 0 && !(last < held)) fail(`does not fit the ${held} elements of`);
  if (count > Math.max(held, repeatLimit)) fail(`repeats the ${held} elements of`);
  return new Tensor(dtype, shape, () => {
    if (count === 0) return viewBytes(dtype, new Uint8Array(0));
    const bytes = source.read(storage.start + offset * width, (last - offset + 1) * width);
    return viewBytes(dtype, isRowMajor(layout) ? bytes : gathered(bytes, width, shape, strides));
  });
}

/** Whether the elements follow each other in the order of the shape. */
function isRowMajor({ shape, strides }: Strides): boolean {
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== step) return false;
    step *= shape[axis]!;
  }
  return true;
}

/** The elements in the order of the shape. */
function gathered(
  bytes: Uint8Array,
  width: number,
  shape: readonly number[],
  strides: readonly number[],
): Uint8Array {
  const result = new Uint8Array(elementCount(shape) * width);
  const index = shape.map(() => 0);
  let from = 0;
  for (let to = 0; to < result.length; to += width) {
    for (let byte = 0; byte < width; byte++) result[to + byte] = bytes[from * width + byte]!;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis]!;
      if (++index[axis]! < shape[axis]!) break;
      from -= shape[axis]! * strides[axis]!;
      index[axis] = 0;
    }
  }
  return result;
}
