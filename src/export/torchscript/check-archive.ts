import { Call, everyPart, Global, Persistent, type Pickled, Tuple } from '../../checkpoint/torch/pickle.ts';
import { storageTypes } from '../../checkpoint/torch/storage-types.ts';
import { readPickle } from '../../checkpoint/torch/unpickle.ts';
import { readZip, type ZipEntry, type ZipInput } from '../../checkpoint/torch/zip.ts';
import { broken, checkBytecode } from './check-bytecode.ts';

/**
 * Reads a written archive back and checks that it holds together: the entries a loader asks for are
 * there, every tensor lies inside a storage whose entry has the size it says, and bytecode stays inside
 * its tables, registers and stack.
 * @throws Error naming what is wrong; UserError when it is no zip archive or has a damaged pickle
 */
export function checkArchive(input: ZipInput, format: 'torchscript' | 'lite'): void {
  const entries = new Map<string, ZipEntry>();
  for (const entry of readZip(input)) {
    const name = entry.name.slice(entry.name.indexOf('/') + 1);
    if (entries.has(name)) throw broken(`${name} is there twice`);
    entries.set(name, entry);
  }
  const take = (name: string): ZipEntry => {
    const entry = entries.get(name);
    if (!entry) throw broken(`${name} is missing`);
    return entry;
  };
  const pickle = (name: string): Pickled => readPickle(take(name).bytes());
  take('.data/version');
  const root = pickle('data.pkl');
  checkStorages(root, 'data', take);
  if (format === 'torchscript') {
    checkStorages(pickle('constants.pkl'), 'constants', take);
    if (![...entries.keys()].some((name) => /^code\/__torch__.*\.py$/.test(name)))
      throw broken('it has no code');
    return;
  }
  const state = root instanceof Call ? root.state : undefined;
  if (!(state instanceof Map)) throw broken('data.pkl is no module');
  checkBytecode(pickle('bytecode.pkl'), state.size);
}

/** Every storage and every tensor inside a pickled value. */
function checkStorages(value: Pickled, folder: string, take: (name: string) => ZipEntry): void {
  for (const part of everyPart(value)) {
    if (part instanceof Persistent) checkStorage(part, folder, take);
    else if (part instanceof Call && /^torch\._utils\._rebuild_q?tensor/.test(`${part.callee}`)) {
      checkTensor(part);
    }
  }
}

function storageParts({ id }: Persistent): { type: string; key: string; count: number } {
  const [kind, type, key, , count] = id instanceof Tuple ? id.items : [];
  if (
    kind !== 'storage' ||
    !(type instanceof Global) ||
    typeof key !== 'string' ||
    typeof count !== 'number'
  ) {
    throw broken('something other than a storage is kept outside a pickle');
  }
  return { type: type.name, key, count };
}

function checkStorage(storage: Persistent, folder: string, take: (name: string) => ZipEntry): void {
  const { type, key, count } = storageParts(storage);
  const width = storageTypes.get(type)?.bytes;
  if (width === undefined) throw broken(`storage ${key} is of an unknown type ${type}`);
  const { size } = take(`${folder}/${key}`);
  if (size !== count * width) throw broken(`${folder}/${key} has ${size} bytes, not ${count} x ${width}`);
}

/** The last element of the tensor must lie in its storage. */
function checkTensor({ args }: Call): void {
  const [storage, offset, shape, strides] = args.items;
  const numbers = (value: Pickled | undefined): number[] =>
    value instanceof Tuple ? value.items.map(Number) : [Number.NaN];
  const [sizes, steps] = [numbers(shape), numbers(strides)];
  if (!(storage instanceof Persistent) || sizes.length !== steps.length)
    throw broken('a tensor has no layout');
  const { key, count } = storageParts(storage);
  const last = sizes.reduce((at, size, i) => at + (size - 1) * steps[i]!, Number(offset));
  const fits = sizes.includes(0) || (last >= 0 && last < count);
  if (!fits) throw broken(`a tensor [${sizes}] does not fit its storage ${key} of ${count} elements`);
}
