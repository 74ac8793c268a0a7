import { create, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { UserError } from '../common/errors.ts';
import type { Attribute } from '../graph/attribute.ts';
import type { Graph, Node, Value } from '../graph/graph.ts';
import { storedBytes } from '../graph/tensor.ts';
import {
  type AttributeProto,
  AttributeProtoSchema,
  type GraphProto,
  GraphProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  type TensorProto,
  TensorProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from './generated/onnx_pb.ts';
import type { CarriedModel, CarriedValue } from './read.ts';
import { onnxTypeOf, tensorHeader, tensorToProto } from './tensor-proto.ts';

/** Protobuf ends at 2 GiB; weights above this many bytes go to a second file. */
export const externalAbove = 1 << 30;

/** A model as the pieces of its file, in order; weights are the tensors' own memory, not copies. */
export interface EncodedModel {
  model: Uint8Array[];
  /** The second file's pieces, when the weights are external. */
  weights?: Uint8Array[];
}

/** A model for an engine that takes the weights as they lie in memory. */
export interface ModelAndWeights {
  model: Uint8Array;
  /** The tensors' own memory, by the location that the model gives for each. */
  weights: { path: string; data: Uint8Array }[];
}

/** Field numbers of the messages that are framed here instead of by the protobuf runtime. */
const field = { modelGraph: 7, graphInitializer: 5, tensorRawData: 9 };
/** External tensors start on pages, so that runtimes can map them. */
const pageSize = 4096;
const rawDataLimit = 1024;

/** The ONNX IR version that introduced what an operator set needs; at least what onnxruntime-web takes. */
const irVersionFor = (opset: number): bigint => (opset >= 23 ? 11n : opset >= 21 ? 10n : 9n);

/**
 * Encodes a graph as an ONNX model. Large weights are not copied: a protobuf message is the
 * concatenation of its fields in any order, so the pieces are framed one by one.
 *
 * @param external name of the file for the weights, relative to the model; without it all is in one
 * @throws UserError when the weights pass 2 GiB without `external`
 */
export function encodeOnnx(graph: Graph, external?: string): EncodedModel {
  const weights: Uint8Array[] = [];
  let offset = 0;
  const place = (bytes: Uint8Array) => {
    const gap = -offset & (pageSize - 1);
    weights.push(new Uint8Array(gap), bytes);
    offset += gap + bytes.length;
    return { location: external!, offset: offset - bytes.length };
  };
  const model = encode(graph, external ? place : undefined);
  return external ? { model, weights } : { model };
}

/** Encodes a graph whose large weights stay where they are. */
export function encodeWithWeights(graph: Graph): ModelAndWeights {
  const weights: ModelAndWeights['weights'] = [];
  const pieces = encode(graph, (data) => {
    const path = `weights/${weights.length}`;
    weights.push({ path, data });
    return { location: path, offset: 0 };
  });
  return { model: concatenate(pieces), weights };
}

/** @param place takes in the bytes of a large weight and says where they are; without it they are in the model */
function encode(
  graph: Graph,
  place: ((bytes: Uint8Array) => { location: string; offset: number }) | undefined,
): Uint8Array[] {
  const carried = graph.carried as CarriedModel | undefined;
  const head = create(ModelProtoSchema, {
    irVersion: carried?.model.irVersion || irVersionFor(graph.opsets.get('') ?? 1),
    producerName: carried?.model.producerName || 'pqv-mobile',
    producerVersion: carried?.model.producerVersion ?? '',
    opsetImport: [...graph.opsets].map(([domain, version]) => ({ domain, version: BigInt(version) })),
    metadataProps: [...graph.metadata].map(([key, value]) => ({ key, value })),
  });
  if (carried?.model.$unknown) head.$unknown = carried.model.$unknown;
  const body: Uint8Array[] = [toBinary(GraphProtoSchema, graphProto(graph, false))];
  for (const value of graph.constants.values()) {
    const tensor = value.tensor!;
    const proto = tensorHeader(value.name, tensor, (value.carried as CarriedValue | undefined)?.tensor);
    const bytes = tensor.dtype === 'string' ? undefined : tensor.bytes;
    if (bytes && place && bytes.length > rawDataLimit) {
      const { location, offset } = place(bytes);
      describeExternal(proto, location, offset, bytes.length);
      body.push(...framed(field.graphInitializer, [toBinary(TensorProtoSchema, proto)]));
    } else {
      const pieces: Uint8Array[] = [toBinary(TensorProtoSchema, proto)];
      if (bytes?.length) pieces.push(...framed(field.tensorRawData, [bytes]));
      body.push(...framed(field.graphInitializer, pieces));
    }
  }
  const model = [toBinary(ModelProtoSchema, head), ...framed(field.modelGraph, body)];
  if (total(model) >= 2 ** 31)
    throw new UserError('the model is over 2 GiB: its weights must go to an external file');
  return model;
}

/** The model in one buffer. @throws UserError above 2 GiB */
export function writeOnnx(graph: Graph): Uint8Array {
  return concatenate(encodeOnnx(graph).model);
}

/** Bytes of all constants. */
export function weightBytes(graph: Graph): number {
  let sum = 0;
  for (const { tensor } of graph.constants.values()) sum += storedBytes(tensor!.dtype, tensor!.shape) || 0;
  return sum;
}

const total = (pieces: readonly Uint8Array[]) => pieces.reduce((sum, piece) => sum + piece.length, 0);

/** The pieces in one buffer. */
export function concatenate(pieces: readonly Uint8Array[]): Uint8Array {
  const result = new Uint8Array(total(pieces));
  let at = 0;
  for (const piece of pieces) {
    result.set(piece, at);
    at += piece.length;
  }
  return result;
}

/** The pieces as one length-delimited field. */
function framed(fieldNumber: number, pieces: Uint8Array[]): Uint8Array[] {
  const prefix = new BinaryWriter().tag(fieldNumber, WireType.LengthDelimited).uint32(total(pieces)).finish();
  return [prefix, ...pieces];
}

function describeExternal(proto: TensorProto, location: string, offset: number, length: number): void {
  proto.dataLocation = 1;
  proto.externalData = Object.entries({ location, offset, length }).map(([key, value]) =>
    create(TensorProtoSchema.field.externalData.message!, { key, value: String(value) }),
  ) as TensorProto['externalData'];
}

function graphProto(graph: Graph, withInitializers: boolean): GraphProto {
  const carried = graph.carried as Partial<CarriedModel> | undefined;
  const outputs = new Set(graph.outputs);
  const proto = create(GraphProtoSchema, {
    name: graph.name,
    node: graph.nodes.map(nodeProto),
    input: graph.inputs.map(valueInfo),
    output: graph.outputs.map(valueInfo),
    valueInfo: graph.nodes
      .flatMap((node) => node.outputs)
      .filter((value): value is Value => value !== undefined && !outputs.has(value) && describable(value))
      .map(valueInfo),
  });
  if (withInitializers) {
    proto.initializer = [...graph.constants.values()].map((value) =>
      tensorToProto(value.name, value.tensor!, (value.carried as CarriedValue | undefined)?.tensor),
    );
  }
  if (carried?.graph?.$unknown) proto.$unknown = carried.graph.$unknown;
  return proto;
}

const describable = (value: Value) => value.dtype !== undefined || value.carried !== undefined;

function valueInfo(value: Value): ValueInfoProto {
  const carried = (value.carried as CarriedValue | undefined)?.info;
  const info = create(ValueInfoProtoSchema, { name: value.name });
  if (carried?.$unknown) info.$unknown = carried.$unknown;
  if (!value.dtype) {
    if (carried?.type) info.type = carried.type;
    return info;
  }
  const dims = value.shape?.map((dim) =>
    typeof dim === 'number' ? { dimValue: BigInt(dim) } : { dimParam: dim },
  );
  info.type = create(ValueInfoProtoSchema.field.type.message!, {
    tensorType: { elemType: onnxTypeOf(value.dtype), ...(dims ? { shape: { dim: dims } } : {}) },
  }) as NonNullable<ValueInfoProto['type']>;
  return info;
}

function nodeProto(node: Node): NodeProto {
  const proto = create(NodeProtoSchema, {
    name: node.name,
    opType: node.opType,
    input: node.inputs.map((value) => value?.name ?? ''),
    output: node.outputs.map((value) => value?.name ?? ''),
    attribute: [...node.attributes].map(([name, attribute]) => attributeProto(name, attribute)),
  });
  if (node.domain) proto.domain = node.domain;
  if (node.carried) proto.$unknown = node.carried as NonNullable<NodeProto['$unknown']>;
  return proto;
}

const utf8 = (value: string | Uint8Array): Uint8Array<ArrayBuffer> =>
  (typeof value === 'string' ? new TextEncoder().encode(value) : value) as Uint8Array<ArrayBuffer>;

function attributeProto(name: string, attribute: Attribute): AttributeProto {
  if (attribute.kind === 'opaque') return attribute.value as AttributeProto;
  const proto = create(AttributeProtoSchema, { name });
  if (attribute.carried) proto.$unknown = attribute.carried as NonNullable<AttributeProto['$unknown']>;
  switch (attribute.kind) {
    case 'float':
      return Object.assign(proto, { type: 1, f: attribute.value });
    case 'int':
      return Object.assign(proto, { type: 2, i: BigInt(attribute.value) });
    case 'string':
      return Object.assign(proto, { type: 3, s: utf8(attribute.value) });
    case 'tensor':
      return Object.assign(proto, { type: 4, t: tensorToProto('', attribute.value) });
    case 'graph':
      return Object.assign(proto, { type: 5, g: graphProto(attribute.value, true) });
    case 'floats':
      return Object.assign(proto, { type: 6, floats: [...attribute.value] });
    case 'ints':
      return Object.assign(proto, { type: 7, ints: attribute.value.map(BigInt) });
    case 'strings':
      return Object.assign(proto, { type: 8, strings: attribute.value.map(utf8) });
  }
}
