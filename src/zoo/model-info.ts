import { UserError } from '../common/errors.ts';
import { fromTimmConfig, type Preprocessing } from '../dataset/preprocessing.ts';
import type { Graph } from '../graph/graph.ts';
import type { ModelArgs } from './model-args.ts';

/** What a model knows of itself beyond its graph; it travels in the graph's metadata. */
export interface ModelInfo {
  /** timm's name, when it was built from one. */
  architecture?: string;
  /** Constructor arguments over those of the name. */
  modelArgs?: ModelArgs;
  /** Classes of the logits; 0 for a model without a head, which gives features. */
  numClasses: number;
  classNames?: string[];
  preprocessing: Preprocessing;
  /** What was done to it, a line a stage. */
  history: string[];
}

const key = 'pqv.model';

/**
 * The model's notes on itself. A graph without any (an `.onnx` file from elsewhere) is taken for an
 * image classifier that wants timm's default preprocessing at the size of its input.
 * @throws UserError when the notes are damaged, or there are none and the graph is no image classifier
 */
export function modelInfo(graph: Graph): ModelInfo {
  const text = graph.metadata.get(key);
  if (text === undefined) return inferredInfo(graph);
  try {
    return JSON.parse(text) as ModelInfo;
  } catch {
    throw new UserError(`the model's "${key}" metadata is damaged: it is not JSON`);
  }
}

/** The name of the architecture a graph was built from; undefined for a graph from elsewhere. */
export function architectureName(graph: Graph): string | undefined {
  return graph.metadata.has(key) ? modelInfo(graph).architecture : undefined;
}

export function setModelInfo(graph: Graph, info: ModelInfo): void {
  graph.metadata.set(key, JSON.stringify(info));
}

/** Adds a line to what was done to the model. */
export function remember(graph: Graph, line: string): void {
  const info = modelInfo(graph);
  setModelInfo(graph, { ...info, history: [...info.history, line] });
}

function inferredInfo(graph: Graph): ModelInfo {
  const [, channels, height, width, ...more] = graph.inputs[0]?.shape ?? [];
  const classes = graph.outputs[0]?.shape?.at(-1);
  const sizes = [channels, height, width];
  if (more.length || !sizes.every((size) => typeof size === 'number') || typeof classes !== 'number') {
    throw new UserError(
      'the model does not say what it takes, and its first input and output are not an image [N, C, H, W] of fixed size and scores',
    );
  }
  return {
    numClasses: classes,
    preprocessing: fromTimmConfig({ input_size: sizes as number[] }, 'the model'),
    history: [],
  };
}
