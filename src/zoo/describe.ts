import { countMacs } from '../graph/cost.ts';
import type { Graph } from '../graph/graph.ts';
import { parameters } from '../graph/parameters.ts';
import type { BlockShape } from './blocks-of.ts';
import { blocksOf } from './model-family.ts';
import { modelInfo } from './model-info.ts';
import { stateHash } from './state-hash.ts';

export interface ModelDescription {
  /** timm's name; null for a graph from elsewhere. */
  architecture: string | null;
  parameters: number;
  /** Multiply-accumulates for one image. */
  macs: number;
  /** `[C, H, W]`. */
  input: readonly number[];
  /** 0 for a model without a head. */
  classes: number;
  /** Length of the output's last axis: the classes, or without a head the features; null when it varies. */
  outputs: number | null;
  blocks: BlockShape[];
  /** See `stateHash`. */
  stateHash: string | null;
}

/** What a model is, measured on its graph: it is right after pruning and quantization too. */
export async function describeModel(graph: Graph): Promise<ModelDescription> {
  const { architecture, preprocessing, numClasses } = modelInfo(graph);
  const outputs = graph.outputs[0]?.shape?.at(-1);
  return {
    architecture: architecture ?? null,
    parameters: parameterCount(graph),
    macs: countMacs(graph),
    input: preprocessing.inputSize,
    classes: numClasses,
    outputs: typeof outputs === 'number' ? outputs : null,
    blocks: blocksOf(graph),
    stateHash: await stateHash(graph),
  };
}

/** Elements of the model's parameters; where none are on record, of all its float constants. */
export function parameterCount(graph: Graph): number {
  const recorded = parameters(graph);
  const counted = recorded.length
    ? recorded
    : [...graph.constants.values()].filter(({ dtype }) => dtype?.startsWith('float'));
  return counted.reduce((sum, { tensor }) => sum + tensor!.size, 0);
}
