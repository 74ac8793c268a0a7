import { toFloat32 } from '../../checkpoint/to-float32.ts';
import { UserError } from '../../common/errors.ts';
import { quoted } from '../../common/quoted.ts';
import { Builder } from '../../graph/builder.ts';
import type { Graph } from '../../graph/graph.ts';
import { parameters, setParameters } from '../../graph/parameters.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { toTimmLayout } from '../checkpoint-layout.ts';
import { assembled, type CheckpointOptions, type CheckpointWeights, opened } from '../checkpoint-model.ts';
import type { ModelArgs } from '../model-args.ts';
import { modelInfo, setModelInfo } from '../model-info.ts';
import { type Architecture, findArchitecture } from '../registry.ts';
import { shapesOf } from '../state.ts';
import { fieldsOf } from './arguments.ts';
import { transformersRows } from './index.ts';
import { withTimmNames } from './names.ts';
import { readPreprocessor } from './preprocessing.ts';
import type { TransformersRow } from './row.ts';
import { reversedChannels } from './tensors.ts';

/** A file of a model folder. */
export interface ConfigFile {
  readonly text: string;
  /** Its name, in errors. */
  readonly path: string;
}

/** Whether a config.json is one of Hugging Face transformers. */
export const isTransformers = (config: Readonly<Record<string, unknown>>): boolean =>
  typeof config.model_type === 'string' && typeof config.architecture !== 'string';

/**
 * The model of a folder of Hugging Face transformers, as the one of timm's that it is, with its classes and
 * preprocessing.
 * @param preprocessor its preprocessor_config.json; without one the preprocessing is assumed to be timm's
 * @throws UserError on a model type that timm has not, settings that timm's can't have, or weights that do not fit
 */
export function modelOfTransformers(
  config: Readonly<Record<string, unknown>>,
  path: string,
  preprocessor: ConfigFile | undefined,
  weights: CheckpointWeights,
  options: CheckpointOptions = {},
): Graph {
  const row = rowOf(config, path);
  const { tensors, notes } = opened(weights, []);
  const own = withoutModules(tensors, row);
  const plan = withPath(path, () => row.plan(fieldsOf(config), shapesOf(own)));
  const { architecture, modelArgs } = nearest(plan.names, plan.args);
  notes.add(`from the layout of transformers (${config.model_type}), as ${architecture.name}`);
  const leftOver: string[] = [];
  const renamed = withTimmNames(own, row.rules, leftOver);
  row.adapt?.(renamed, leftOver);
  notes.leftOver(leftOver);
  const state = new Map(toTimmLayout(architecture.family.layouts ?? [], renamed));
  const edges = [plan.imageSize].flat();
  const size = [edges[0]!, edges.at(-1)!];
  const told = preprocessor && readPreprocessor(preprocessor.text, preprocessor.path, plan.channels, size);
  if (told?.reversedChannels) reverseFirst(state, architecture);
  const head = plan.classAndMean ? taken(state, ['head.weight', 'head.bias']) : undefined;
  const numClasses = state.get(`${architecture.classifier[0]}.weight`)?.shape[0] ?? 0;
  const own224 = { ...architecture.preprocessing, inputSize: [plan.channels, ...size] };
  const graph = assembled(
    architecture,
    {
      architecture: architecture.name,
      modelArgs,
      numClasses,
      preprocessing: told?.preprocessing ?? (own224 as unknown as typeof architecture.preprocessing),
    },
    state,
    notes,
    { ...options, style: 'transformers' },
  );
  if (head)
    addClassAndMean(graph, head, 1 + Number(modelArgs.reg_tokens ?? architecture.args.reg_tokens ?? 0));
  const info = modelInfo(graph);
  const classes = graph.outputs[0]!.shape!.at(-1);
  const classNames = labelsOf(config.id2label, head ? Number(classes) : numClasses);
  setModelInfo(graph, {
    ...info,
    ...(head ? { numClasses: Number(classes) } : {}),
    ...(classNames ? { classNames } : {}),
    ...(told ? {} : { preprocessingFrom: 'assumed' as const }),
  });
  return graph;
}

function rowOf(config: Readonly<Record<string, unknown>>, path: string): TransformersRow {
  const row = transformersRows.find(({ types }) => types.includes(config.model_type as string));
  if (row) return row;
  const known = transformersRows.flatMap(({ types }) => types).join(', ');
  throw new UserError(
    `${path}: model_type ${quoted(config.model_type)} is none of those that are read (${known}); export it to ONNX with PyTorch and give the .onnx file`,
  );
}

function withPath<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof UserError) throw new UserError(`${path}: ${error.message}`);
    throw error;
  }
}

function withoutModules(
  tensors: ReadonlyMap<string, Tensor>,
  { modules }: TransformersRow,
): ReadonlyMap<string, Tensor> {
  const inner = (name: string) => {
    const module = modules.find((candidate) => name.startsWith(`${candidate}.`));
    return module ? name.slice(module.length + 1) : name;
  };
  return new Map([...tensors].map(([name, tensor]) => [inner(name), tensor]));
}

/** Of some names of one class, that which differs least from the arguments, and the arguments it lacks. */
function nearest(
  names: readonly string[],
  args: ModelArgs,
): { architecture: Architecture; modelArgs: ModelArgs } {
  const candidates = names.map((name) => {
    const architecture = findArchitecture(name);
    const entries = Object.entries(args).filter(
      ([key, value]) => JSON.stringify(architecture.args[key] ?? defaults[key]) !== JSON.stringify(value),
    );
    return { architecture, modelArgs: Object.fromEntries(entries) };
  });
  return candidates.reduce((best, next) =>
    Object.keys(next.modelArgs).length < Object.keys(best.modelArgs).length ? next : best,
  );
}

/** Arguments that no name of timm's needs to give, since all classes have them so. */
const defaults: ModelArgs = { mlp_ratio: 4, qkv_bias: true, act_layer: 'gelu' };

function taken(state: Map<string, Tensor>, names: readonly string[]): Tensor[] {
  return names.map((name) => {
    const tensor = state.get(name);
    if (!tensor) throw new UserError(`its classifier lacks ${name}`);
    state.delete(name);
    return toFloat32(name, tensor);
  });
}

function reverseFirst(state: Map<string, Tensor>, { firstConv }: Architecture): void {
  const name = `${firstConv[0]}.weight`;
  const tensor = state.get(name);
  if (tensor) state.set(name, reversedChannels(name, tensor));
}

/** Tokens `[N, T, C]` to classes: a Linear of the first beside the mean of those behind the prefix. */
function addClassAndMean(graph: Graph, [weight, bias]: readonly Tensor[], prefix: number): void {
  const b = new Builder(graph);
  const tokens = graph.outputs.pop()!;
  graph.rename(tokens, 'tokens');
  const count = tokens.shape!.at(-2) as number;
  const first = b.op('Gather', [tokens, b.ints([0])], { axis: 1 }, 'class_token');
  const patches = b.op('Slice', [tokens, b.ints([prefix]), b.ints([count]), b.ints([1])], {}, 'patches');
  const mean = b.op('ReduceMean', [patches, b.ints([1])], { keepdims: 1 }, 'mean_of_patches');
  const both = b.op('Concat', [first, mean], { axis: 2 }, 'class_and_mean');
  const flat = b.op('Squeeze', [both, b.ints([1])], {}, 'features');
  const trained = parameters(graph).map(({ name }) => name);
  const own = (name: string, tensor: Tensor) => graph.addConstant(name, tensor);
  const matrix = b.op('Transpose', [own('head.weight', weight!)], { perm: [1, 0] }, 'head.weight_t');
  const product = b.op('MatMul', [flat, matrix], {}, 'head.matmul');
  const logits = b.op('Add', [product, own('head.bias', bias!)], {}, 'head.add');
  graph.rename(logits, 'logits');
  graph.outputs.push(logits);
  setParameters(graph, [...trained, 'head.weight', 'head.bias']);
}

/** The names of `id2label` in the order of their numbers, where each class has one. */
/** Names of classes from `id2label`; undefined where it does not name each. */
export function labelsOf(labels: unknown, count: number): string[] | undefined {
  if (typeof labels !== 'object' || labels === null || count === 0) return undefined;
  const table = labels as Record<string, unknown>;
  const names = Array.from({ length: count }, (_, i) =>
    Object.hasOwn(table, `${i}`) ? table[i] : undefined,
  );
  return names.every((name) => typeof name === 'string') ? (names as string[]) : undefined;
}
