import { create } from '@bufbuild/protobuf';
import { UserError } from '../common/errors.ts';
import {
  type DataType,
  dataTypes,
  elementCount,
  type NumericType,
  storedBytes,
  Tensor,
  type TensorData,
  viewBytes,
} from '../graph/tensor.ts';
import { type TensorProto, TensorProtoSchema } from './generated/onnx_pb.ts';

/** Reads bytes that a model keeps in another file; `location` is relative to the model. */
export type ExternalData = (location: string, offset: number, length: number | undefined) => () => Uint8Array;

const byNumber = new Map<number, NumericType>(
  Object.entries(dataTypes).map(([name, type]) => [type.onnx, name as NumericType]),
);
const stringType = 8;

/** The element type of a TensorProto.DataType number. @throws UserError when ONNX has none of that number */
export function dataTypeOf(onnx: number): DataType {
  const dtype = onnx === stringType ? 'string' : byNumber.get(onnx);
  if (!dtype) throw new UserError(`unknown ONNX element type ${onnx}`);
  return dtype;
}

/** The TensorProto.DataType number of an element type. */
export const onnxTypeOf = (dtype: DataType): number =>
  dtype === 'string' ? stringType : dataTypes[dtype].onnx;

/**
 * The tensor a TensorProto describes. Raw data stays where it is until read; external data is read
 * through `external`.
 * @throws UserError when the element type is unknown, a dimension is negative, or the data are missing
 */
export function tensorFromProto(proto: TensorProto, external?: ExternalData): Tensor {
  const dtype = dataTypeOf(proto.dataType);
  const shape = proto.dims.map(Number);
  const where = `tensor "${proto.name}"`;
  if (shape.some((dim) => !(dim >= 0 && Number.isSafeInteger(dim)))) {
    throw new UserError(`${where} has an impossible shape [${shape}]`);
  }
  if (dtype === 'string') {
    return new Tensor(
      dtype,
      shape,
      proto.stringData.map((bytes) => new TextDecoder().decode(bytes)),
    );
  }
  if (proto.dataLocation === 1) {
    if (!external)
      throw new UserError(`${where} keeps its data in another file, but the model was given as bytes`);
    const entry = new Map(proto.externalData.map(({ key, value }) => [key, value]));
    const location = entry.get('location');
    if (!location) throw new UserError(`${where}: its external data have no location`);
    const length = entry.get('length');
    const read = external(location, Number(entry.get('offset') ?? 0), length ? Number(length) : undefined);
    return new Tensor(dtype, shape, () => viewBytes(dtype, read()));
  }
  if (proto.rawData.length > 0 || elementCount(shape) === 0) {
    const expected = storedBytes(dtype, shape);
    if (proto.rawData.length !== expected) {
      throw new UserError(
        `${where}: ${dtype}[${shape}] needs ${expected} bytes, the file has ${proto.rawData.length}`,
      );
    }
    const raw = proto.rawData;
    return new Tensor(dtype, shape, () => viewBytes(dtype, raw));
  }
  return new Tensor(dtype, shape, typedData(dtype, proto));
}

/** Data held in the typed fields instead of `raw_data`; which one depends on the element type. */
function typedData(dtype: NumericType, proto: TensorProto): TensorData {
  const { array } = dataTypes[dtype];
  if (array === BigInt64Array) return BigInt64Array.from(proto.int64Data);
  if (array === BigUint64Array) return BigUint64Array.from(proto.uint64Data);
  if (dtype === 'uint32') return Uint32Array.from(proto.uint64Data, Number);
  if (array === Float64Array) return Float64Array.from(proto.doubleData);
  if (array === Float32Array) return Float32Array.from(proto.floatData);
  return (array as unknown as Int32ArrayConstructor).from(proto.int32Data) as TensorData;
}

/** A TensorProto with everything but the numbers. */
export function tensorHeader(name: string, tensor: Tensor, carried?: TensorProto): TensorProto {
  const proto = create(TensorProtoSchema, {
    name,
    dims: tensor.shape.map(BigInt),
    dataType: onnxTypeOf(tensor.dtype),
  });
  if (carried?.docString) proto.docString = carried.docString;
  if (carried?.$unknown) proto.$unknown = carried.$unknown;
  if (tensor.dtype === 'string') {
    proto.stringData = (tensor.data as string[]).map((text) => new TextEncoder().encode(text));
  }
  return proto;
}

/** A whole TensorProto. */
export function tensorToProto(name: string, tensor: Tensor, carried?: TensorProto): TensorProto {
  const proto = tensorHeader(name, tensor, carried);
  if (tensor.dtype !== 'string') proto.rawData = tensor.bytes as Uint8Array<ArrayBuffer>;
  return proto;
}
