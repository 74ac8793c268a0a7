import type { NumericType } from '../../graph/tensor.ts';

/** What the elements of one of PyTorch's storages are. */
export interface StorageType {
  /** Nothing for quantized elements, whose scale is elsewhere. */
  readonly dtype?: NumericType;
  /** Of one element. */
  readonly bytes: number;
}

/** PyTorch's storage classes by name. */
export const storageTypes: ReadonlyMap<string, StorageType> = new Map([
  ['FloatStorage', { dtype: 'float32', bytes: 4 }],
  ['DoubleStorage', { dtype: 'float64', bytes: 8 }],
  ['HalfStorage', { dtype: 'float16', bytes: 2 }],
  ['BFloat16Storage', { dtype: 'bfloat16', bytes: 2 }],
  ['LongStorage', { dtype: 'int64', bytes: 8 }],
  ['IntStorage', { dtype: 'int32', bytes: 4 }],
  ['ShortStorage', { dtype: 'int16', bytes: 2 }],
  ['CharStorage', { dtype: 'int8', bytes: 1 }],
  ['ByteStorage', { dtype: 'uint8', bytes: 1 }],
  ['BoolStorage', { dtype: 'bool', bytes: 1 }],
  /** Bytes whose tensors say themselves what they are. */
  ['UntypedStorage', { dtype: 'uint8', bytes: 1 }],
  ['QInt8Storage', { bytes: 1 }],
  ['QUInt8Storage', { bytes: 1 }],
  ['QInt32Storage', { bytes: 4 }],
  ['QUInt4x2Storage', { bytes: 1 }],
  ['QUInt2x4Storage', { bytes: 1 }],
]);

/** The storage class of an element type; nothing for types PyTorch has none for. */
export const storageClasses: ReadonlyMap<NumericType, string> = new Map(
  [...storageTypes]
    .filter(([name]) => name !== 'UntypedStorage')
    .flatMap(([name, { dtype }]) => (dtype ? [[dtype, name] as const] : [])),
);
