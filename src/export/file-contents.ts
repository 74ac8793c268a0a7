import type { Preprocessing } from '../dataset/preprocessing.ts';
import { Graph } from '../graph/graph.ts';
import { quantizationTitle } from '../quantize/describe.ts';
import { quantization } from '../quantize/record.ts';
import { modelInfo, type PreprocessingOrigin, saysWhatItIs } from '../zoo/model-info.ts';

/** One input or output, as a file for a runtime has it. */
export interface ContentsTensor {
  /** As the file's signature calls it, where it has one. */
  name: string;
  /** Of the tensor itself. */
  tensor: string;
  dtype: string;
  /** A text, or -1, is a length that is given at run time; null where the file doesn't tell. */
  shape: (number | string)[] | null;
  /** real = scale * (stored - zeroPoint); null for numbers that stand for themselves. */
  quantization: { scale: number; zeroPoint: number } | null;
}

/** All constants of one number type. */
export interface ContentsWeights {
  dtype: string;
  tensors: number;
  bytes: number;
  /** What has a scale of its own, where they are integers that stand for real numbers; `mixed`: some this, some that. */
  scales: 'channel' | 'tensor' | 'mixed' | null;
}

/** What a file that we wrote says of its model. */
export interface ContentsModel {
  architecture: string | null;
  /** What was done to its numbers, in words; null for a model in full precision. */
  precision: string | null;
  preprocessing: Preprocessing & { from: PreprocessingOrigin | 'model' };
  classNames: string[] | null;
  history: string[];
}

/** What a file for a runtime holds, by its own words. */
export interface FileContents {
  writtenBy: string | null;
  inputs: ContentsTensor[];
  outputs: ContentsTensor[];
  /** How often each stands in it, the commonest first. */
  operators: Record<string, number>;
  weights: ContentsWeights[];
  /** null for a file of another tool. */
  model: ContentsModel | null;
  /** Notes that are not ours, unread. */
  metadata: { name: string; bytes: number }[];
  /** What could not be told, or will trouble who loads it, a line each. */
  remarks: string[];
}

const ours = 'pqv.';

/**
 * The notes in a file: those of ours as what they say, others by name.
 * @throws UserError when one of ours is damaged
 */
export function readNotes(notes: ReadonlyMap<string, Uint8Array>): Pick<FileContents, 'model' | 'metadata'> {
  const graph = new Graph();
  for (const [name, bytes] of notes) graph.metadata.set(name, new TextDecoder().decode(bytes));
  const metadata = [...notes]
    .filter(([name]) => !name.startsWith(ours))
    .map(([name, { length }]) => ({ name, bytes: length }));
  if (!saysWhatItIs(graph)) return { model: null, metadata };
  const { architecture, preprocessing, preprocessingFrom, classNames, history } = modelInfo(graph);
  const record = quantization(graph);
  return {
    model: {
      architecture: architecture ?? null,
      precision: record ? quantizationTitle(record) : null,
      preprocessing: { ...preprocessing, from: preprocessingFrom ?? 'model' },
      classNames: classNames ?? null,
      history,
    },
    metadata,
  };
}

/** A constant of a file. */
export interface Constant {
  dtype: string;
  bytes: number;
  /** Scales that it has; 0 for numbers that stand for themselves. */
  scales: number;
}

/** Constants by number type, the type with the most bytes first. */
export function weightsByType(constants: Iterable<Constant>): ContentsWeights[] {
  const types = new Map<string, ContentsWeights>();
  for (const { dtype, bytes, scales } of constants) {
    const kind = scales === 0 ? null : scales === 1 ? 'tensor' : 'channel';
    const before = types.get(dtype);
    const merged = !before?.scales || !kind || before.scales === kind ? (kind ?? before?.scales) : 'mixed';
    types.set(dtype, {
      dtype,
      tensors: (before?.tensors ?? 0) + 1,
      bytes: (before?.bytes ?? 0) + bytes,
      scales: merged ?? null,
    });
  }
  return [...types.values()].sort((a, b) => b.bytes - a.bytes);
}

/** How often each name comes, the commonest first. */
export function counted(names: Iterable<string>): Record<string, number> {
  const times = new Map<string, number>();
  for (const name of names) times.set(name, (times.get(name) ?? 0) + 1);
  return Object.fromEntries([...times].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)));
}
