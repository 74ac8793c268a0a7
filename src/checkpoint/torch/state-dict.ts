import { UserError } from '../../common/errors.ts';
import { quoted } from '../../common/quoted.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { Call, Global, type Pickled, Tuple } from './pickle.ts';
import type { TorchFile } from './read-torch.ts';

/**
 * Entries that people save a state dict under, the better weights first: of a model and its moving average the
 * average is what is meant to be used, as timm takes it.
 */
const wrappers = [
  'state_dict_ema',
  'model_ema',
  'ema_state_dict',
  'ema',
  'state_dict',
  'model_state_dict',
  'model',
  'model_state',
  'teacher',
  'student',
  'net',
  'network',
  'module',
  'weights',
  'params',
];

/** How deep one entry may be in another. */
const depthLimit = 5;

/** The state dict in a file of `torch.save`. */
export interface StateDict {
  readonly tensors: Map<string, Tensor>;
  /** The entry it was under: `model`, or `checkpoint.model`; empty for the file itself. */
  readonly entry: string;
}

/**
 * Finds the state dict: under the first entry of `wrappers` that leads to one, else the file's own table of tensors.
 * @throws UserError when there is none, or one of its tensors can't be read, naming it
 */
export function stateDictOf(file: TorchFile): StateDict {
  const seen = new Set<unknown>();
  const find = (table: Pickled | undefined, path: readonly string[]): StateDict | undefined => {
    const entries = entriesOf(table);
    if (!entries || path.length > depthLimit || seen.has(entries)) return undefined;
    seen.add(entries);
    for (const name of wrappers) {
      const found = find(entries.get(name), [...path, name]);
      if (found) return found;
    }
    const tensors = tensorsOf(file, entries);
    return tensors.size ? { tensors, entry: path.join('.') } : undefined;
  };
  const found = find(file.value, []);
  if (!found) throw new UserError(nothingIn(file.value));
  return found;
}

/** A dict, an ordered dict, or what a dict of another class holds. */
function entriesOf(value: Pickled | undefined): ReadonlyMap<Pickled, Pickled> | undefined {
  if (value instanceof Map) return value;
  return value instanceof Call && value.entries.size ? value.entries : undefined;
}

function tensorsOf(file: TorchFile, entries: ReadonlyMap<Pickled, Pickled>): Map<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  for (const [name, value] of entries) {
    if (typeof name !== 'string') continue;
    try {
      const tensor = file.tensorOf(value);
      if (tensor) tensors.set(name, tensor);
      // What a quantized layer packs is a tuple of its weight and bias.
      else if (value instanceof Tuple) for (const item of value.items) file.tensorOf(item);
    } catch (error) {
      if (error instanceof UserError) throw new UserError(`tensor ${quoted(name)}: ${error.message}`);
      throw error;
    }
  }
  return tensors;
}

function nothingIn(value: Pickled): string {
  if (value instanceof Call && value.callee instanceof Global && value.state !== undefined) {
    return `it holds a whole pickled object (${quoted(`${value.callee}`)}), which only its own Python code can build: save its state_dict()`;
  }
  const entries = entriesOf(value);
  const names = [...(entries?.keys() ?? [])].filter((name) => typeof name === 'string');
  return names.length
    ? `no state dict in it: its entries are ${names.slice(0, 6).map(quoted).join(', ')}`
    : 'no state dict in it';
}
