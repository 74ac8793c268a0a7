import { fromBinary } from '@bufbuild/protobuf';
import { UserError } from '../common/errors.ts';
import type { Attribute } from '../graph/attribute.ts';
import { type Dim, Graph, type Shape, type Value } from '../graph/graph.ts';
import { inferNode } from '../graph/infer.ts';
import type { DataType } from '../graph/tensor.ts';
import {
  type AttributeProto,
  type GraphProto,
  type ModelProto,
  ModelProtoSchema,
  type TensorProto,
  type ValueInfoProto,
} from './generated/onnx_pb.ts';
import { orderedNodes } from './node-order.ts';
import { dataTypeOf, type ExternalData, tensorFromProto } from './tensor-proto.ts';

/** What of a file's messages the graph does not model, kept on `carried` so that writing gives it back. */
export interface CarriedModel {
  model: ModelProto;
  graph: GraphProto;
}
/** The program that wrote the file, and its version; undefined for a graph that comes from none. */
export function producerOf(graph: Graph): string | undefined {
  const carried = graph.carried as CarriedModel | undefined;
  const { producerName = '', producerVersion = '' } = carried?.model ?? {};
  return `${producerName} ${producerVersion}`.trim() || undefined;
}

export interface CarriedValue {
  info?: ValueInfoProto;
  tensor?: TensorProto;
}

/**
 * Reads an ONNX model. Weights stay in `bytes` (or the external file) until they are asked for.
 * @throws UserError when the bytes are no ONNX model or the graph contradicts itself
 */
export function readOnnx(bytes: Uint8Array, external?: ExternalData): Graph {
  let model: ModelProto;
  try {
    model = fromBinary(ModelProtoSchema, bytes);
  } catch (error) {
    throw new UserError(`not an ONNX model: ${(error as Error).message}`);
  }
  if (!model.graph) throw new UserError('not an ONNX model: it has no graph');
  if (model.opsetImport.length === 0) throw new UserError('not an ONNX model: it imports no operator set');
  const proto = model.graph;
  model.graph = undefined as never;
  const graph = new Graph(proto.name);
  graph.opsets.clear();
  for (const { domain, version } of model.opsetImport) {
    graph.opsets.set(domain === 'ai.onnx' ? '' : domain, Number(version));
  }
  for (const { key, value } of model.metadataProps) graph.metadata.set(key, value);
  fillGraph(graph, proto, new Map(), external);
  graph.carried = { model, graph: emptied(proto) } satisfies CarriedModel;
  return graph;
}

const emptied = (proto: GraphProto): GraphProto =>
  Object.assign(proto, { node: [], initializer: [], input: [], output: [], valueInfo: [] });

function fillGraph(
  graph: Graph,
  proto: GraphProto,
  outer: ReadonlyMap<string, Value>,
  external?: ExternalData,
): void {
  const scope = new Map(outer);
  for (const info of proto.input) {
    const type = tensorType(info);
    const value = graph.addInput(info.name, type.dtype as DataType, type.shape);
    value.carried = { info } satisfies CarriedValue;
    scope.set(info.name, value);
  }
  for (const initializer of proto.initializer) {
    const tensor = tensorFromProto(initializer, external);
    const carried: CarriedValue = {
      tensor: Object.assign(initializer, { rawData: new Uint8Array(), floatData: [] }),
    };
    const input = graph.inputs.find((value) => value.name === initializer.name);
    const value = input ?? graph.addConstant(initializer.name, tensor);
    if (input) graph.defaultInput(input, tensor);
    value.carried = { ...(value.carried as CarriedValue | undefined), ...carried };
    scope.set(initializer.name, value);
  }
  for (const node of orderedNodes(proto.node, scope)) {
    const inputs = node.input.map((name) => scope.get(name));
    const made = graph.addNode({
      opType: node.opType,
      domain: node.domain === 'ai.onnx' ? '' : node.domain,
      name: node.name,
      inputs,
      outputs: node.output,
      attributes: Object.fromEntries(
        node.attribute.map((a) => [a.name, readAttribute(a, graph, scope, external)]),
      ),
    });
    inferNode(made);
    if (node.$unknown) made.carried = node.$unknown;
    for (const output of made.outputs) if (output) scope.set(output.name, output);
  }
  for (const info of [...proto.valueInfo, ...proto.output]) {
    const value = scope.get(info.name);
    if (!value) continue;
    const type = tensorType(info);
    value.dtype ??= type.dtype;
    value.shape ??= type.shape;
    value.carried = { ...(value.carried as CarriedValue | undefined), info };
  }
  for (const { name } of proto.output) {
    const value = scope.get(name);
    if (!value) throw new UserError(`graph output "${name}" is made by no node`);
    graph.outputs.push(value);
  }
}

function tensorType(info: ValueInfoProto): { dtype: DataType | undefined; shape: Shape | undefined } {
  const type = info.type?.tensorType;
  if (!type?.elemType) return { dtype: undefined, shape: undefined };
  const dims = type.shape?.dim.map((dim, i): Dim => {
    if (dim.dimParam) return dim.dimParam;
    return dim.dimValue > 0n ? Number(dim.dimValue) : `${info.name}_${i}`;
  });
  return { dtype: dataTypeOf(type.elemType), shape: dims };
}

const text = (bytes: Uint8Array): string | Uint8Array => {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return bytes;
  }
};

/** AttributeProto.AttributeType -> how to read it. Kinds without a row stay opaque. */
const attributeReaders: Record<
  number,
  (
    proto: AttributeProto,
    graph: Graph,
    scope: ReadonlyMap<string, Value>,
    external?: ExternalData,
  ) => Attribute
> = {
  1: ({ f }) => ({ kind: 'float', value: f }),
  2: ({ i }) => ({ kind: 'int', value: narrow(i) }),
  3: ({ s }) => ({ kind: 'string', value: text(s) }),
  4: ({ t }, _graph, _scope, external) => ({ kind: 'tensor', value: tensorFromProto(given(t), external) }),
  5: ({ g }, graph, scope, external) => {
    const proto = given(g);
    const nested = new Graph(proto.name, graph);
    fillGraph(nested, proto, scope, external);
    nested.carried = { graph: emptied(proto) };
    return { kind: 'graph', value: nested };
  },
  6: ({ floats }) => ({ kind: 'floats', value: floats }),
  7: ({ ints }) => ({ kind: 'ints', value: ints.map(narrow) }),
  8: ({ strings }) => ({ kind: 'strings', value: strings.map(text) }),
};

/** @throws UserError where an attribute says that it has what it has not */
function given<T>(part: T | undefined): T {
  if (part === undefined) throw new UserError('an attribute of the type of a tensor or a graph has none');
  return part;
}

const narrow = (value: bigint): number | bigint =>
  Number.isSafeInteger(Number(value)) ? Number(value) : value;

function readAttribute(
  proto: AttributeProto,
  graph: Graph,
  scope: ReadonlyMap<string, Value>,
  external?: ExternalData,
): Attribute {
  const read = proto.refAttrName ? undefined : attributeReaders[proto.type];
  if (!read) return { kind: 'opaque', value: proto };
  const attribute = read(proto, graph, scope, external);
  if (proto.$unknown) attribute.carried = proto.$unknown;
  return attribute;
}
