import { UserError } from '../../common/errors.ts';
import { quoted } from '../../common/quoted.ts';
import type { NumericType, Tensor } from '../../graph/tensor.ts';
import type { ByteSource } from '../safetensors.ts';
import { Call, everyPart, Global, Persistent, type Pickled, Tuple } from './pickle.ts';
import { storageClasses, storageTypes } from './storage-types.ts';
import { type Storage, stridedTensor } from './strided.ts';
import { readPickle, readPickleAt } from './unpickle.ts';
import { readZip } from './zip.ts';

/** A file that `torch.save` wrote: what it holds as plain data, and how to have its tensors. */
export interface TorchFile {
  readonly value: Pickled;
  /**
   * The tensor that a part of the value describes, read when it is asked for; nothing where it describes none.
   * @throws UserError on a tensor of a kind that is not read here, or one that does not lie in the file
   */
  tensorOf(part: Pickled): Tensor | undefined;
}

/**
 * Reads what `torch.save` wrote: zip archives (PyTorch 1.6 and later) and the form before. The pickle in it is
 * parsed, never executed, and only what rebuilds tensors means anything.
 * @throws UserError when it is damaged, or a program rather than weights
 */
export function readTorchFile(source: ByteSource): TorchFile {
  return startsWith(source, zipStart) ? readArchive(source) : readLegacy(source);
}

const zipStart = [0x50, 0x4b, 3, 4];
const pickleStart = [0x80, 2];

const startsWith = (source: ByteSource, bytes: readonly number[]): boolean =>
  source.size >= bytes.length && `${source.read(0, bytes.length)}` === `${bytes}`;

/** Whether a file begins as those of `torch.save` do. */
export const isTorchFile = (source: ByteSource): boolean =>
  startsWith(source, zipStart) || startsWith(source, pickleStart);

/** The largest pickle in an archive: it names tensors, their elements are elsewhere. */
const pickleLimit = 1 << 28;

function readArchive(source: ByteSource): TorchFile {
  const entries = new Map(
    readZip(source).map((entry) => [entry.name.slice(entry.name.indexOf('/') + 1), entry] as const),
  );
  if (entries.has('constants.pkl') || entries.has('bytecode.pkl')) {
    throw new UserError('it is a TorchScript program, not weights: give the model it is the export of');
  }
  const pickle = entries.get('data.pkl');
  if (!pickle) throw new UserError('the zip archive has no data.pkl, so torch.save did not write it');
  if (pickle.size > pickleLimit) throw new UserError(`its data.pkl has ${pickle.size} bytes: too many`);
  const order = entries.get('byteorder');
  if (order && order.size < 16 && new TextDecoder().decode(order.bytes()) !== 'little') {
    throw new UserError('it was written on a big-endian machine, whose numbers are not read here');
  }
  const value = readPickle(pickle.bytes());
  return withTensors(source, value, (key) => {
    const entry = entries.get(`data/${key}`);
    if (!entry) throw new UserError(`damaged checkpoint: storage ${quoted(key)} is missing`);
    if (!entry.stored) throw new UserError(`damaged checkpoint: storage ${quoted(key)} is compressed`);
    return { key, start: entry.offset(), bytes: entry.size };
  });
}

/** What a checkpoint of PyTorch before 1.6 begins with, a pickled number. */
const legacyMagic = 0x1950a86a20f9469cfc6cn;

/** Four pickles (magic number, version, machine, value), one that lists the storages, then these. */
function readLegacy(source: ByteSource): TorchFile {
  let at = 0;
  const next = (): Pickled => {
    const { value, end } = readPickleAt(source, at);
    at = end;
    return value;
  };
  if (next() !== legacyMagic) {
    throw new UserError('it is a pickle that torch.save did not write: save the state dict with torch.save');
  }
  next();
  const machine = next();
  if (machine instanceof Map && machine.get('little_endian') === false) {
    throw new UserError('it was written on a big-endian machine, whose numbers are not read here');
  }
  const value = next();
  const keys = next();
  const widths = new Map<Pickled, number>();
  for (const part of everyPart(value)) {
    if (!(part instanceof Persistent)) continue;
    const { key, width } = storageParts(part);
    widths.set(key, width);
  }
  const storages = new Map<string, Storage>();
  for (const key of Array.isArray(keys) ? keys : []) {
    if (typeof key !== 'string') throw new UserError('damaged checkpoint: a storage has no name');
    const width = widths.get(key);
    if (width === undefined) throw new UserError(`damaged checkpoint: nothing is of storage ${quoted(key)}`);
    if (at + 8 > source.size) throw new UserError(`${source.path} is truncated at storage ${quoted(key)}`);
    const header = source.read(at, 8);
    const count = new DataView(header.buffer, header.byteOffset, 8).getBigUint64(0, true);
    const bytes = Number(count) * width;
    at += 8;
    if (at + bytes > source.size) throw new UserError(`it is truncated in storage ${quoted(key)}`);
    storages.set(key, { key, start: at, bytes });
    at += bytes;
  }
  return withTensors(source, value, (key) => {
    const storage = storages.get(key);
    if (!storage) throw new UserError(`damaged checkpoint: storage ${quoted(key)} is missing`);
    return storage;
  });
}

function storageParts({ id }: Persistent): {
  key: string;
  type: string;
  dtype: NumericType | undefined;
  width: number;
  count: number;
} {
  const [kind, type, key, , count, view] = id instanceof Tuple ? id.items : [];
  if (
    kind !== 'storage' ||
    !(type instanceof Global) ||
    typeof key !== 'string' ||
    typeof count !== 'number' ||
    (view ?? null) !== null
  ) {
    throw new UserError('damaged checkpoint: something other than a storage is kept outside the pickle');
  }
  const found = storageTypes.get(type.name);
  if (!found) throw new UserError(`its storages of type ${quoted(`${type}`)} are not read here`);
  return { key, type: type.name, dtype: found.dtype, width: found.bytes, count };
}

/** Functions of PyTorch that make a tensor that has no numbers of its own, or others than its elements. */
const otherTensors: Readonly<Record<string, string>> = {
  _rebuild_qtensor: 'quantized',
  _rebuild_sparse_tensor: 'sparse',
  _rebuild_sparse_csr_tensor: 'sparse',
  _rebuild_nested_tensor: 'nested',
  _rebuild_meta_tensor_no_storage: 'without elements (on the meta device)',
  _rebuild_wrapper_subclass: 'of a class of its own',
};

/** Who makes a tensor of other arguments: the call that they stand for. */
const wrappers: Readonly<Record<string, (args: readonly Pickled[]) => Pickled | undefined>> = {
  _rebuild_parameter: ([tensor]) => tensor,
  _rebuild_parameter_with_state: ([tensor]) => tensor,
  _rebuild_from_type_v2: ([callee, , args]) =>
    callee !== undefined && args instanceof Tuple ? new Call(callee, args) : undefined,
};

const rebuilders = new Set(['_rebuild_tensor', '_rebuild_tensor_v2', '_rebuild_tensor_v3']);

function withTensors(source: ByteSource, value: Pickled, storageOf: (key: string) => Storage): TorchFile {
  return {
    value,
    tensorOf(part) {
      let call = part;
      for (let depth = 0; depth < 4; depth++) {
        const name = torchFunction(call);
        if (name === undefined || !(call instanceof Call)) return undefined;
        const { items } = call.args;
        if (Object.hasOwn(otherTensors, name)) throw new UserError(`it is ${otherTensors[name]}`);
        if (rebuilders.has(name)) return rebuilt(source, items, storageOf);
        if (!Object.hasOwn(wrappers, name)) return undefined;
        call = wrappers[name]!(items) ?? null;
      }
      return undefined;
    },
  };
}

/** The name of the function of `torch._utils` or `torch._tensor` that a call is of. */
function torchFunction(part: Pickled): string | undefined {
  const callee = part instanceof Call ? part.callee : undefined;
  if (!(callee instanceof Global)) return undefined;
  return callee.module === 'torch._utils' || callee.module === 'torch._tensor' ? callee.name : undefined;
}

function rebuilt(
  source: ByteSource,
  [storage, offset, shape, strides, , , own]: readonly Pickled[],
  storageOf: (key: string) => Storage,
): Tensor {
  if (!(storage instanceof Persistent)) throw new UserError('damaged checkpoint: a tensor has no storage');
  const { key, type, dtype, width, count } = storageParts(storage);
  if (!dtype) throw new UserError(`its elements are quantized (${type})`);
  const place = storageOf(key);
  if (place.bytes !== count * width) {
    throw new UserError(
      `damaged checkpoint: storage ${quoted(key)} has ${place.bytes} bytes, not ${count} x ${width}`,
    );
  }
  return stridedTensor(source, place, own instanceof Global ? torchType(own) : dtype, {
    offset: Number(offset),
    shape: numbersOf(shape),
    strides: numbersOf(strides),
  });
}

/** `torch.bfloat16` and such. */
function torchType(global: Global): NumericType {
  const name = global.name as NumericType;
  if (global.module === 'torch' && storageClasses.has(name)) return name;
  throw new UserError(`its elements of type ${quoted(`${global}`)} are not read here`);
}

/** A tuple of numbers, or the `torch.Size` of one. */
function numbersOf(value: Pickled | undefined): number[] {
  const inner = value instanceof Call ? value.args.items[0] : value;
  return inner instanceof Tuple ? inner.items.map(Number) : [Number.NaN];
}
