import { Builder, type Offset } from 'flatbuffers';
import { UserError } from '../../common/errors.ts';
import { storedBytes } from '../../graph/tensor.ts';
import type { FileTensor, Operator, Program } from './program.ts';
import { type Builtin, builtins, fields, identifier, tensorTypes } from './schema.ts';

/** Offsets in a flatbuffer are signed 32-bit numbers. */
const largest = 2 ** 31 - 1;
const smallBuiltins = 127;

/**
 * The bytes of a `.tflite` file, with a signature `serving_default` of the model's own names.
 * @throws UserError above 2 GB, which the format can't hold
 */
export function encodeTflite(program: Program): Uint8Array {
  const tensors = tensorsOf(program);
  const weights = [...tensors].reduce(
    (sum, { data }) => sum + (data ? storedBytes(data.dtype, data.shape) + 16 : 0),
    0,
  );
  const room = weights + 1024 * (tensors.size + program.operators.length + 64);
  if (room > largest) throw new UserError('the model is larger than the 2 GB that a TFLite file can hold');
  return new Encoder(new Builder(room), [...tensors]).encode(program);
}

function tensorsOf({ inputs, outputs, operators }: Program): Set<FileTensor> {
  const all = new Set(inputs.map(({ tensor }) => tensor));
  for (const operator of operators) {
    for (const tensor of [...operator.inputs, ...operator.outputs]) if (tensor) all.add(tensor);
  }
  for (const { tensor } of outputs) all.add(tensor);
  return all;
}

type Field = readonly [place: number, write: (b: Builder, place: number) => void];

const offset = (place: number, at: Offset): Field => [place, (b) => b.addFieldOffset(place, at, 0)];
const int = (place: number, value: number, absent = 0): Field => [
  place,
  (b) => b.addFieldInt32(place, value, absent),
];
const byte = (place: number, value: number): Field => [place, (b) => b.addFieldInt8(place, value, 0)];

class Encoder {
  readonly #b: Builder;
  readonly #tensors: readonly FileTensor[];
  readonly #index: ReadonlyMap<FileTensor | undefined, number>;
  /** The first is empty: that of tensors without data. */
  readonly #buffers: Offset[] = [];

  constructor(builder: Builder, tensors: readonly FileTensor[]) {
    this.#b = builder;
    this.#tensors = tensors;
    this.#index = new Map(tensors.map((tensor, i) => [tensor, i]));
    this.#buffers.push(this.#table([]));
  }

  encode(program: Program): Uint8Array {
    const codes = [...new Set(program.operators.map(({ builtin }) => builtin))];
    const operators = program.operators.map((operator) =>
      this.#operator(operator, codes.indexOf(operator.builtin)),
    );
    const tensors = this.#tensors.map((tensor) => this.#tensor(tensor));
    const { subgraph, model, metadata } = fields;
    const main = this.#table([
      offset(subgraph.tensors, this.#offsets(tensors)),
      offset(subgraph.inputs, this.#ints(program.inputs.map(({ tensor }) => this.#index.get(tensor)!))),
      offset(subgraph.outputs, this.#ints(program.outputs.map(({ tensor }) => this.#index.get(tensor)!))),
      offset(subgraph.operators, this.#offsets(operators)),
      offset(subgraph.name, this.#b.createString('main')),
    ]);
    const notes = [...program.metadata].map(([name, text]) => {
      const buffer = this.#buffer(new TextEncoder().encode(text));
      return this.#table([offset(metadata.name, this.#b.createString(name)), int(metadata.buffer, buffer)]);
    });
    const root = this.#table([
      int(model.version, 3),
      offset(model.operatorCodes, this.#offsets(codes.map((name) => this.#code(builtins[name])))),
      offset(model.subgraphs, this.#offsets([main])),
      offset(model.description, this.#b.createString('pqv-mobile')),
      offset(model.buffers, this.#offsets(this.#buffers)),
      offset(model.metadata, this.#offsets(notes)),
      offset(model.signatures, this.#offsets([this.#signature(program)])),
    ]);
    this.#b.finish(root, identifier);
    return this.#b.asUint8Array();
  }

  #code({ code, version }: Builtin): Offset {
    const { operatorCode } = fields;
    return this.#table([
      byte(operatorCode.deprecatedCode, Math.min(code, smallBuiltins)),
      int(operatorCode.version, version, 1),
      int(operatorCode.code, code),
    ]);
  }

  #operator({ builtin, inputs, outputs, options: given }: Operator, code: number): Offset {
    const { operator } = fields;
    const { options } = builtins[builtin] as Builtin;
    const index = (tensor: FileTensor | undefined) => this.#index.get(tensor) ?? -1;
    const written = [
      int(operator.code, code),
      offset(operator.inputs, this.#ints(inputs.map(index))),
      offset(operator.outputs, this.#ints(outputs.map(index))),
    ];
    if (options) written.push(byte(operator.optionsType, options.type), this.#options(options, given));
    return this.#table(written);
  }

  #options({ table }: NonNullable<Builtin['options']>, given: Operator['options']): Field {
    const written = Object.entries(given).map(([name, value]): Field => {
      const [place, kind, absent] = table[name]!;
      if (kind === 'float') return [place, (b) => b.addFieldFloat32(place, Number(value), absent)];
      return kind === 'int' ? int(place, Number(value), absent) : byte(place, Number(value));
    });
    return offset(fields.operator.options, this.#table(written));
  }

  #tensor({ name, dtype, shape, data, scales, scaledAxis = 0, zeroPoints }: FileTensor): Offset {
    const { tensor } = fields;
    const written = [
      offset(tensor.shape, this.#ints(shape)),
      byte(tensor.type, tensorTypes[dtype]!),
      int(tensor.buffer, data ? this.#buffer(data.bytes) : 0),
      offset(tensor.name, this.#b.createString(name)),
      byte(tensor.hasRank, 1),
    ];
    data?.release();
    if (scales) {
      written.push(offset(tensor.quantization, this.#quantization(scales, scaledAxis, zeroPoints)));
    }
    return this.#table(written);
  }

  /** Without zero points symmetric: every one is 0. */
  #quantization(scales: Float32Array, axis: number, zeroPoints?: readonly number[]): Offset {
    const { quantization } = fields;
    this.#b.startVector(4, scales.length, 4);
    for (const scale of scales.toReversed()) this.#b.addFloat32(scale);
    const units = this.#b.endVector();
    this.#b.startVector(8, scales.length, 8);
    for (let i = scales.length - 1; i >= 0; i--) this.#b.addInt64(BigInt(zeroPoints?.[i] ?? 0));
    const zeros = this.#b.endVector();
    return this.#table([
      offset(quantization.scale, units),
      offset(quantization.zeroPoint, zeros),
      int(quantization.dimension, axis),
    ]);
  }

  #signature({ inputs, outputs }: Program): Offset {
    const { signature, tensorMap } = fields;
    const maps = (named: Program['inputs']) =>
      this.#offsets(
        named.map(({ name, tensor }) =>
          this.#table([
            offset(tensorMap.name, this.#b.createString(name)),
            int(tensorMap.tensor, this.#index.get(tensor)!),
          ]),
        ),
      );
    return this.#table([
      offset(signature.inputs, maps(inputs)),
      offset(signature.outputs, maps(outputs)),
      offset(signature.key, this.#b.createString('serving_default')),
    ]);
  }

  /** The number of a new buffer; weights are aligned for the kernels that read them in place. */
  #buffer(bytes: Uint8Array): number {
    this.#b.prep(16, bytes.length);
    const data = this.#b.createByteVector(bytes);
    return this.#buffers.push(this.#table([offset(fields.buffer.data, data)])) - 1;
  }

  #table(written: readonly Field[]): Offset {
    this.#b.startObject(Math.max(0, ...written.map(([place]) => place + 1)));
    for (const [place, write] of written) write(this.#b, place);
    return this.#b.endObject();
  }

  #ints(values: readonly number[]): Offset {
    this.#b.startVector(4, values.length, 4);
    for (const value of values.toReversed()) this.#b.addInt32(value);
    return this.#b.endVector();
  }

  #offsets(values: readonly Offset[]): Offset {
    this.#b.startVector(4, values.length, 4);
    for (const value of values.toReversed()) this.#b.addOffset(value);
    return this.#b.endVector();
  }
}
