import type { Preprocessing } from '../dataset/preprocessing.ts';
import { countMacs, uncountedNodes } from '../graph/cost.ts';
import type { Graph, Value } from '../graph/graph.ts';
import { modelParameters } from '../graph/learned.ts';
import { argumentsOf } from '../graph/schema/arguments.ts';
import { producerOf } from '../onnx/read.ts';
import { weightBytes } from '../onnx/write.ts';
import type { BlockShape } from './blocks-of.ts';
import { blocksOf } from './model-family.ts';
import { modelInfo, type PreprocessingOrigin } from './model-info.ts';
import { knownArchitecture } from './registry.ts';
import { stateHash } from './state-hash.ts';

export interface ModelDescription {
  /** timm's name; null for a graph from elsewhere. */
  architecture: string | null;
  parameters: number;
  /** Multiply-accumulates for one image. */
  macs: number;
  /** Nodes whose multiply-accumulates are not known, and not among those. */
  uncounted: string[];
  /** timm's module and class; null for a graph from elsewhere. */
  className: string | null;
  /** What wrote the file, as it says itself, and its operator set. */
  producer: string | null;
  opset: number;
  /** Bytes of all constants. */
  bytes: number;
  /** `[C, H, W]`. */
  input: readonly number[];
  /** How images are prepared for it, and whether that was assumed or given. */
  preprocessing: Preprocessing & { from: PreprocessingOrigin | 'model' };
  classNames: readonly string[] | null;
  /** What was done to it, a line a stage. */
  history: readonly string[];
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
  const { architecture, preprocessing, preprocessingFrom, numClasses, classNames, history } =
    modelInfo(graph);
  const outputs = graph.outputs[0]?.shape?.at(-1);
  return {
    architecture: architecture ?? null,
    parameters: parameterCount(graph),
    macs: countMacs(graph),
    uncounted: uncountedNodes(graph).map(({ label }) => label),
    className: (architecture && knownArchitecture(architecture)?.className) || null,
    producer: producerOf(graph) ?? null,
    opset: graph.opsets.get('') ?? 0,
    bytes: weightBytes(graph),
    input: preprocessing.inputSize,
    preprocessing: { ...preprocessing, from: preprocessingFrom ?? 'model' },
    classNames: classNames ?? null,
    history,
    classes: numClasses,
    outputs: typeof outputs === 'number' ? outputs : null,
    blocks: blocksOf(graph),
    stateHash: await stateHash(graph),
  };
}

/** Elements of the model's parameters; where none are on record, of the constants that its layers have learned. */
export function parameterCount(graph: Graph): number {
  return modelParameters(graph).reduce((sum, value) => sum + numbersIn(value), 0);
}

/** How many numbers a constant holds; weights of four bits are two a byte, and filled up to whole blocks. */
function numbersIn({ tensor, uses }: Value): number {
  const product = uses.find(
    ({ node, index }) => node.op === 'com.microsoft.MatMulNBits' && index === 1,
  )?.node;
  if (!product) return tensor!.size;
  const { K, N } = argumentsOf<'com.microsoft.MatMulNBits'>(product);
  return K * N;
}
