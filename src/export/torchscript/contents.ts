import * as z from 'zod';
import { everyPart, Global, Persistent, type Pickled, Tuple } from '../../checkpoint/torch/pickle.ts';
import { storageTypes } from '../../checkpoint/torch/storage-types.ts';
import { readPickle } from '../../checkpoint/torch/unpickle.ts';
import { readZip, type ZipEntry, type ZipInput } from '../../checkpoint/torch/zip.ts';
import { parseJsonAs } from '../../common/json.ts';
import { type Constant, counted, type FileContents, readNotes, weightsByType } from '../file-contents.ts';

const notesSchema = z.record(z.string(), z.string());

/**
 * What a TorchScript or Lite file of any tool holds: the numbers in its storages; of bytecode, the operators that it calls;
 * what we noted. Nothing in it is run.
 * @throws UserError when it is no zip archive, or a part of it is damaged
 */
export function archiveContents(input: ZipInput, where: string): FileContents {
  const entries = new Map<string, ZipEntry>();
  for (const entry of readZip(input)) entries.set(entry.name.slice(entry.name.indexOf('/') + 1), entry);
  const constants: Constant[] = [];
  for (const part of ['data', 'constants']) {
    const pickle = entries.get(`${part}.pkl`);
    if (pickle) constants.push(...storagesIn(readPickle(pickle.bytes())));
  }
  const bytecode = entries.get('bytecode.pkl');
  const notes = entries.get('extra/pqv.json');
  const ours = notes
    ? parseJsonAs(notesSchema, new TextDecoder().decode(notes.bytes()), `${where}, extra/pqv.json`)
    : {};
  const encoder = new TextEncoder();
  return {
    writtenBy: notes ? 'pqv-mobile' : null,
    inputs: [],
    outputs: [],
    operators: bytecode ? counted(calledIn(readPickle(bytecode.bytes()))) : {},
    weights: weightsByType(constants),
    ...readNotes(new Map(Object.entries(ours).map(([name, text]) => [name, encoder.encode(text)]))),
    remarks: [
      `files of PyTorch don't say what they take and give${bytecode ? '' : ', and TorchScript is code: its operators are not counted'}`,
    ],
  };
}

/** Each storage that a pickle names, once. */
function* storagesIn(pickle: Pickled): Generator<Constant> {
  const seen = new Set<string>();
  for (const part of everyPart(pickle)) {
    if (!(part instanceof Persistent) || !(part.id instanceof Tuple)) continue;
    const [kind, type, key, , count] = part.id.items;
    if (kind !== 'storage' || !(type instanceof Global) || typeof key !== 'string' || seen.has(key)) continue;
    seen.add(key);
    const known = storageTypes.get(type.name);
    const elements = typeof count === 'number' && count >= 0 ? count : 0;
    yield {
      dtype: known?.dtype ?? type.name.replace(/Storage$/, '').toLowerCase(),
      bytes: elements * (known?.bytes ?? 0),
      scales: 0,
    };
  }
}

/** Tuples and lists alike: PyTorch writes the one here and the other there. */
const items = (value: Pickled | undefined): readonly Pickled[] =>
  value instanceof Tuple ? value.items : Array.isArray(value) ? value : [];

/** The operator of each call in all methods; what is no method has none. */
function* calledIn(bytecode: Pickled): Generator<string> {
  for (const method of items(bytecode)) {
    const rows = new Map(items(items(method)[1]).map((row) => [items(row)[0], items(row)[1]]));
    const operators = items(rows.get('operators')).map((operator) => items(operator)[0]);
    for (const instruction of items(rows.get('instructions'))) {
      const [name, index] = items(instruction);
      const operator = (name === 'OP' || name === 'OPN') && operators[Number(index)];
      if (typeof operator === 'string') yield operator;
    }
  }
}
