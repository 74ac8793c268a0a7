import { ByteBuffer } from 'flatbuffers';
import { elementCount } from '../../graph/tensor.ts';
import { builtins, fields, identifier } from './schema.ts';

/** What a `.tflite` file says of itself. */
export interface TfliteSummary {
  /** `name [shape]` of each. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** How often each operator stands in it. */
  readonly operators: Readonly<Record<string, number>>;
  readonly metadata: readonly string[];
}

const names = new Map(Object.entries(builtins).map(([name, { code }]) => [code as number, name]));
const widths: Record<number, number> = { 0: 4, 1: 2, 2: 4, 3: 1, 6: 1, 9: 1 };

/**
 * Reads a file back: every operator is known, reads what is made before it, and every constant has its bytes.
 * @throws Error when the file does not hold together
 */
export function checkTflite(bytes: Uint8Array): TfliteSummary {
  const buffer = new ByteBuffer(bytes);
  if (!buffer.__has_identifier(identifier)) throw new Error('the written file is no TFLite file');
  const model = new Table(buffer, buffer.readInt32(0));
  const [graph] = model.tables(fields.model.subgraphs);
  if (model.int(fields.model.version) !== 3 || !graph) throw new Error('the written file has no model');
  const buffers = model.tables(fields.model.buffers);
  const tensors = graph.tables(fields.subgraph.tensors);
  const ready = new Set(graph.ints(fields.subgraph.inputs));
  tensors.forEach((tensor, i) => {
    const data = buffers[tensor.int(fields.tensor.buffer)]!.length(fields.buffer.data);
    if (!data) return;
    ready.add(i);
    const expected =
      elementCount(tensor.ints(fields.tensor.shape)) * widths[tensor.byte(fields.tensor.type)]!;
    if (data !== expected)
      throw new Error(`${tensor.text(fields.tensor.name)} has ${data} bytes, not ${expected}`);
  });
  const codes = model.tables(fields.model.operatorCodes).map((code) => code.int(fields.operatorCode.code));
  const operators: Record<string, number> = {};
  for (const operator of graph.tables(fields.subgraph.operators)) {
    const name = names.get(codes[operator.int(fields.operator.code)] ?? -1);
    if (!name) throw new Error('the written file has an operator that is none');
    operators[name] = (operators[name] ?? 0) + 1;
    for (const input of operator.ints(fields.operator.inputs)) {
      if (input !== -1 && !ready.has(input)) throw new Error(`${name} reads a tensor before it is made`);
    }
    for (const output of operator.ints(fields.operator.outputs)) ready.add(output);
  }
  const described = (place: number) =>
    graph.ints(place).map((i) => {
      if (!ready.has(i)) throw new Error('an output of the written file is not made');
      return `${tensors[i]!.text(fields.tensor.name)} [${tensors[i]!.ints(fields.tensor.shape)}]`;
    });
  return {
    inputs: described(fields.subgraph.inputs),
    outputs: described(fields.subgraph.outputs),
    operators,
    metadata: model.tables(fields.model.metadata).map((note) => note.text(fields.metadata.name)),
  };
}

/** A table of a flatbuffer. */
class Table {
  readonly #buffer: ByteBuffer;
  readonly #at: number;

  constructor(buffer: ByteBuffer, at: number) {
    this.#buffer = buffer;
    this.#at = at;
  }

  #field(place: number): number | undefined {
    const offset = this.#buffer.__offset(this.#at, 4 + 2 * place);
    return offset ? this.#at + offset : undefined;
  }

  int(place: number): number {
    const at = this.#field(place);
    return at === undefined ? 0 : this.#buffer.readInt32(at);
  }

  byte(place: number): number {
    const at = this.#field(place);
    return at === undefined ? 0 : this.#buffer.readInt8(at);
  }

  text(place: number): string {
    const at = this.#field(place);
    return at === undefined ? '' : `${this.#buffer.__string(at)}`;
  }

  length(place: number): number {
    const at = this.#field(place);
    return at === undefined ? 0 : this.#buffer.__vector_len(at);
  }

  ints(place: number): number[] {
    return this.#items(place, (at) => this.#buffer.readInt32(at));
  }

  tables(place: number): Table[] {
    return this.#items(place, (at) => new Table(this.#buffer, this.#buffer.__indirect(at)));
  }

  #items<T>(place: number, read: (at: number) => T): T[] {
    const at = this.#field(place);
    if (at === undefined) return [];
    const start = this.#buffer.__vector(at);
    return Array.from({ length: this.#buffer.__vector_len(at) }, (_, i) => read(start + 4 * i));
  }
}
