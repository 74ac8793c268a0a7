import { UserError } from '../common/errors.ts';
import { quoted } from '../common/quoted.ts';
import { dataTypeOf } from '../onnx/tensor-proto.ts';
import {
  type Constant,
  type ContentsTensor,
  counted,
  type FileContents,
  readNotes,
  weightsByType,
} from './file-contents.ts';
import { FlatFile, type FlatTable } from './flat-table.ts';

/** Places of fields in the tables of ONNX Runtime's schema (`onnxruntime/core/flatbuffers/schema/ort.fbs`). */
const fields = {
  session: { version: 0, model: 1 },
  model: { producer: 2, producerVersion: 3, graph: 7, metadata: 9 },
  graph: { constants: 0, values: 1, nodes: 2, inputs: 5, outputs: 6 },
  node: { domain: 2, op: 5 },
  value: { name: 0, type: 2 },
  type: { kind: 1, value: 2 },
  tensorType: { dtype: 0, shape: 1 },
  shape: { dims: 0 },
  dimension: { value: 0 },
  length: { kind: 0, value: 1, symbol: 2 },
  tensor: { dtype: 3, data: 4 },
  note: { key: 0, value: 1 },
} as const;

/** Of a type, and of a length. */
const kinds = { tensor: 1, number: 1, symbol: 2 };

/**
 * What an `.ort` file holds.
 * @throws UserError when it is no such file, or does not hold together
 */
export function ortContents(bytes: Uint8Array, where: string): FileContents {
  const file = new FlatFile(bytes, { where, identifier: 'ORTM', kind: 'ORT file' });
  const model = file.root.table(fields.session.model);
  const graph = model?.table(fields.model.graph);
  if (!model || !graph) throw file.damaged('it has no graph');
  const types = new Map(
    graph
      .tables(fields.graph.values)
      .map((value) => [value.text(fields.value.name), value.table(fields.value.type)]),
  );
  const described = (name: string): ContentsTensor => ({
    name,
    tensor: name,
    ...typeOf(types.get(name)),
    quantization: null,
  });
  const notes = model
    .tables(fields.model.metadata)
    .map((note) => [note.text(fields.note.key), note.bytes(fields.note.value)] as const);
  const version = file.root.text(fields.session.version);
  const producer = [model.text(fields.model.producer), model.text(fields.model.producerVersion)];
  return {
    writtenBy: producer.filter(Boolean).join(' ') || null,
    inputs: graph.texts(fields.graph.inputs).map(described),
    outputs: graph.texts(fields.graph.outputs).map(described),
    operators: counted(graph.tables(fields.graph.nodes).map(opOf)),
    weights: weightsByType(graph.tables(fields.graph.constants).map(constantOf)),
    ...readNotes(new Map(notes)),
    remarks: version ? [`layout of ORT files: version ${quoted(version)}`] : [],
  };
}

/** As our graphs name it: `com.microsoft.FusedGelu`. */
function opOf(node: FlatTable): string {
  const [domain, op] = [node.text(fields.node.domain), node.text(fields.node.op)];
  return domain && domain !== 'ai.onnx' ? `${domain}.${op}` : op;
}

const constantOf = (tensor: FlatTable): Constant => ({
  dtype: dtypeNamed(tensor.int(fields.tensor.dtype)),
  bytes: tensor.length(fields.tensor.data, 1),
  scales: 0,
});

function typeOf(type: FlatTable | undefined): Pick<ContentsTensor, 'dtype' | 'shape'> {
  const tensor = type?.byte(fields.type.kind) === kinds.tensor ? type.table(fields.type.value) : undefined;
  if (!tensor) return { dtype: 'no tensor', shape: null };
  const dims = tensor.table(fields.tensorType.shape)?.tables(fields.shape.dims);
  return {
    dtype: dtypeNamed(tensor.int(fields.tensorType.dtype)),
    shape: dims?.map((dim) => lengthOf(dim.table(fields.dimension.value))) ?? null,
  };
}

function lengthOf(length: FlatTable | undefined): number | string {
  const kind = length?.byte(fields.length.kind);
  if (length && kind === kinds.number) return length.long(fields.length.value);
  return length && kind === kinds.symbol ? length.text(fields.length.symbol) : -1;
}

function dtypeNamed(number: number): string {
  try {
    return dataTypeOf(number);
  } catch (error) {
    if (error instanceof UserError) return `type ${number}`;
    throw error;
  }
}
