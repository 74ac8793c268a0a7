import { FlatFile, type FlatTable } from '../flat-table.ts';
import { builtinNames } from './builtin-names.ts';
import { fields, identifier, storedTypes } from './schema.ts';

/** A tensor as a `.tflite` file of any tool describes it. */
export interface StoredTensor {
  readonly name: string;
  /** As ours where we have it: `float32`, `int8`; `type 40` where the schema has none. */
  readonly dtype: string;
  /** -1 for a length that is given at run time. */
  readonly shape: readonly number[];
  /** Number of its buffer; 0 is the empty one. */
  readonly buffer: number;
  /** Of its constant; 0 where it is computed. */
  readonly bytes: number;
  /** What the constant has by shape and type; undefined where that is not told by these. */
  readonly expectedBytes: number | undefined;
  readonly scales: { readonly count: number; readonly first: number; readonly zeroPoint: number } | undefined;
  /** Its numbers are in another file. */
  readonly elsewhere: boolean;
}

export interface StoredOperator {
  /** As the schema has it; of an operator that is not built in, the name that it goes by. */
  readonly name: string;
  readonly builtin: boolean;
  /** Numbers of tensors; -1 for an input that is left out. */
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

export interface StoredGraph {
  readonly tensors: readonly StoredTensor[];
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  readonly operators: readonly StoredOperator[];
}

/** What a `.tflite` file holds, weights apart. The first graph is the model; others are bodies of loops and branches. */
export interface StoredModel {
  readonly description: string;
  readonly graphs: readonly StoredGraph[];
  /** By name, `serving_default`: what its inputs and outputs are called, by tensor of the first graph. */
  readonly signatures: ReadonlyMap<string, ReadonlyMap<number, string>>;
  readonly metadata: ReadonlyMap<string, Uint8Array>;
}

/**
 * Reads a `.tflite` file of any tool.
 * @param where the file, in errors
 * @throws UserError when it is none, is cut off, or does not hold together
 */
export function readTflite(bytes: Uint8Array, where: string): StoredModel {
  const file = new FlatFile(bytes, { where, identifier, kind: 'TFLite file' });
  const model = file.root;
  const version = model.int(fields.model.version);
  if (version !== 3) throw file.damaged(`its schema has version ${version}, and there is none but 3`);
  const buffers = model.tables(fields.model.buffers);
  const sizes = buffers.map((buffer) => bytesOf(buffer, file));
  const codes = model.tables(fields.model.operatorCodes).map(operatorName);
  const graphs = model
    .tables(fields.model.subgraphs)
    .map((graph) => readGraph(graph, { file, sizes, codes }));
  if (graphs.length === 0) throw file.damaged('it has no graph');
  const metadata = new Map<string, Uint8Array>();
  for (const note of model.tables(fields.model.metadata)) {
    const buffer = buffers[note.int(fields.metadata.buffer)];
    if (buffer) metadata.set(note.text(fields.metadata.name), buffer.bytes(fields.buffer.data));
  }
  return {
    description: model.text(fields.model.description),
    graphs,
    signatures: new Map(
      model
        .tables(fields.model.signatures)
        .map((signature) => [signature.text(fields.signature.key), namesIn(signature)]),
    ),
    metadata,
  };
}

/** Of the data of a buffer: in it, or behind the flatbuffer where the file is a large one. */
function bytesOf(buffer: FlatTable, file: FlatFile): number {
  const inside = buffer.length(fields.buffer.data, 1);
  const [offset, size] = [buffer.long(fields.buffer.offset), buffer.long(fields.buffer.size)];
  if (inside > 0 || offset <= 1) return inside;
  if (!(size >= 0 && offset + size <= file.bytes.length))
    throw file.damaged(`a buffer of ${size} bytes at ${offset} is not in its ${file.bytes.length} bytes`);
  return size;
}

const namesIn = (signature: FlatTable): Map<number, string> =>
  new Map(
    [fields.signature.inputs, fields.signature.outputs]
      .flatMap((side) => signature.tables(side))
      .map((map) => [map.int(fields.tensorMap.tensor), map.text(fields.tensorMap.name)]),
  );

const custom = builtinNames.indexOf('CUSTOM');

/** Numbers above 127 have a field of their own, which older files have not. */
function operatorName(code: FlatTable): Pick<StoredOperator, 'name' | 'builtin'> {
  const { deprecatedCode, custom: customName, code: newer } = fields.operatorCode;
  const number = Math.max(code.byte(deprecatedCode), code.int(newer));
  if (number === custom) return { name: code.text(customName) || 'CUSTOM', builtin: false };
  return { name: builtinNames[number] ?? `operator ${number}`, builtin: true };
}

interface Known {
  readonly file: FlatFile;
  /** Bytes of every buffer. */
  readonly sizes: readonly number[];
  readonly codes: readonly Pick<StoredOperator, 'name' | 'builtin'>[];
}

function readGraph(graph: FlatTable, { file, sizes, codes }: Known): StoredGraph {
  const tensors = graph.tables(fields.subgraph.tensors).map((tensor) => readTensor(tensor, file, sizes));
  const known = (indices: number[], least: number) => {
    const stray = indices.find((i) => i < least || i >= tensors.length);
    if (stray !== undefined) throw file.damaged(`it names tensor ${stray} of ${tensors.length}`);
    return indices;
  };
  return {
    tensors,
    inputs: known(graph.ints(fields.subgraph.inputs), 0),
    outputs: known(graph.ints(fields.subgraph.outputs), 0),
    operators: graph.tables(fields.subgraph.operators).map((operator) => {
      const code = codes[operator.int(fields.operator.code)];
      if (!code) throw file.damaged('it names an operator that is not in its list');
      return {
        ...code,
        inputs: known(operator.ints(fields.operator.inputs), -1),
        outputs: known(operator.ints(fields.operator.outputs), 0),
      };
    }),
  };
}

function readTensor(tensor: FlatTable, file: FlatFile, sizes: readonly number[]): StoredTensor {
  const { tensor: places, quantization: of } = fields;
  const type = tensor.byte(places.type);
  const [dtype, bits] = storedTypes[type] ?? [`type ${type}`, undefined];
  const name = tensor.text(places.name);
  const buffer = tensor.int(places.buffer);
  const bytes = sizes[buffer];
  if (bytes === undefined)
    throw file.damaged(`tensor ${JSON.stringify(name)} has buffer ${buffer} of ${sizes.length}`);
  const stored = tensor.ints(places.shape);
  const open = tensor.ints(places.shapeSignature);
  const quantization = tensor.table(places.quantization);
  const count = quantization?.length(of.scale, 4) ?? 0;
  return {
    name,
    dtype,
    shape: open.length === stored.length ? open : stored,
    buffer,
    bytes,
    expectedBytes:
      bits === undefined || tensor.has(places.sparsity)
        ? undefined
        : Math.ceil((stored.reduce((product, length) => product * length, 1) * bits) / 8),
    scales:
      quantization && count > 0
        ? {
            count,
            first: quantization.floats(of.scale)[0]!,
            zeroPoint: quantization.longs(of.zeroPoint)[0] ?? 0,
          }
        : undefined,
    elsewhere: tensor.int(places.externalBuffer) > 0,
  };
}
