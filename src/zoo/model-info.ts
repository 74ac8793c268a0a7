import * as z from 'zod';
import { UserError } from '../common/errors.ts';
import { parseJsonAs } from '../common/json.ts';
import {
  describePreprocessing,
  fromTimmConfig,
  type Preprocessing,
  preprocessingSchema,
} from '../dataset/preprocessing.ts';
import {
  overriddenPreprocessing,
  type PreprocessingOptions,
  saysPreprocessing,
} from '../dataset/preprocessing-options.ts';
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
  /** Where that is from, when not from the model itself. */
  preprocessingFrom?: PreprocessingOrigin;
  /** What was done to it, a line a stage. */
  history: string[];
}

const origins = ['assumed', 'config', 'given'] as const satisfies readonly PreprocessingOrigin[];

/** `ModelInfo`, for files that anything may have happened to. */
const infoSchema: z.ZodType<ModelInfo> = z.looseObject({
  architecture: z.string().optional(),
  modelArgs: z.record(z.string(), z.unknown()).optional(),
  numClasses: z.number().int().min(0).max(1e7),
  classNames: z.array(z.string()).optional(),
  preprocessing: preprocessingSchema,
  preprocessingFrom: z.enum(origins).optional(),
  history: z.array(z.string()),
});

/**
 * `assumed`: the model says nothing, so timm's default was taken; `config`: a file beside it says so; `given`: the
 * user does.
 */
export type PreprocessingOrigin = 'assumed' | 'config' | 'given';

const key = 'pqv.model';

/**
 * The model's notes on itself. A graph without any (an `.onnx` file from elsewhere) is taken for an
 * model of images that wants timm's default preprocessing at the size of its input, and for a classifier where
 * its first output is `[N, classes]`.
 * @throws UserError when the notes are damaged, or there are none and the graph takes no images of a fixed size
 */
export function modelInfo(graph: Graph): ModelInfo {
  const text = graph.metadata.get(key);
  if (text === undefined) return inferredInfo(graph);
  return parseJsonAs(infoSchema, text, `the model's note "${key}"`);
}

/** Whether a graph has notes on itself, so that nothing about it is inferred. */
export const saysWhatItIs = (graph: Graph): boolean => graph.metadata.has(key);

/** The name of the architecture a graph was built from; undefined for a graph from elsewhere. */
export function architectureName(graph: Graph): string | undefined {
  return graph.metadata.has(key) ? modelInfo(graph).architecture : undefined;
}

export function setModelInfo(graph: Graph, info: ModelInfo): void {
  graph.metadata.set(key, JSON.stringify(info));
}

/**
 * Notes how images are prepared for the model, where the user says so.
 * @throws UserError when it does not fit the model's input
 */
export function setPreprocessing(graph: Graph, options: PreprocessingOptions): void {
  if (!saysPreprocessing(options)) return;
  const info = modelInfo(graph);
  const preprocessing = overriddenPreprocessing(info.preprocessing, options);
  setModelInfo(graph, { ...info, preprocessing, preprocessingFrom: 'given' });
}

/** How images are prepared for the model, in a line for people: where that was assumed, it says so. */
export function preprocessingLine({
  preprocessing,
  preprocessingFrom,
}: Pick<ModelInfo, 'preprocessing' | 'preprocessingFrom'>): string {
  const line = describePreprocessing(preprocessing);
  return preprocessingFrom === 'assumed'
    ? `${line} (ASSUMED, the model does not say: give --mean, --std, --interpolation, --crop-pct if it was trained otherwise)`
    : line;
}

/** Adds a line to what was done to the model. */
export function remember(graph: Graph, line: string): void {
  const info = modelInfo(graph);
  setModelInfo(graph, { ...info, history: [...info.history, line] });
}

/** Whether the model gives scores of classes; others give features, boxes, masks. */
export const isClassifier = (graph: Graph): boolean =>
  graph.metadata.has(key) ? modelInfo(graph).numClasses > 0 : scores(graph) !== undefined;

/** Names that exporters give to what is no scores. */
const featureNames = /hidden_state|feature|embed|pool/i;

/** How many scores a graph without notes gives: its first output is `[N, classes]`, and not named as features are. */
function scores({ outputs: [first] }: Graph): number | undefined {
  const [, classes, ...more] = first?.shape ?? [];
  if (more.length || typeof classes !== 'number' || featureNames.test(first!.name)) return undefined;
  return classes;
}

function inferredInfo(graph: Graph): ModelInfo {
  const [, channels, height, width, ...more] = graph.inputs[0]?.shape ?? [];
  const sizes = [channels, height, width];
  if (more.length || !sizes.every((size) => typeof size === 'number')) {
    throw new UserError(
      'the model does not say what it takes, and its first input is not an image [N, C, H, W] of fixed size',
    );
  }
  return {
    numClasses: scores(graph) ?? 0,
    preprocessing: fromTimmConfig({ input_size: sizes as number[] }, 'the model'),
    preprocessingFrom: 'assumed',
    history: [],
  };
}
