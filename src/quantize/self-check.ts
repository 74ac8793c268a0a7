import { UserError } from '../common/errors.ts';
import type { Graph } from '../graph/graph.ts';
import { type DataType, storedBytes, type Tensor } from '../graph/tensor.ts';
import { noiseFeeds } from '../runtime/noise.ts';
import { runInParts } from '../runtime/run-in-parts.ts';
import type { Engine, Tensors } from '../runtime/session.ts';
import { castTensors } from './cast.ts';
import { layersOf } from './layer.ts';
import { type LayerError, layerErrors } from './layer-errors.ts';
import type { Quantization } from './record.ts';

/** How a model in a lower precision compares, on noise, with the one in float32 that it was made from. */
export interface SelfCheck {
  /** Of the outputs, the worst of them: the norm of what changes over their own; null: unknown. */
  readonly relative: number | null;
  /** What int8 does to each layer by itself, on exact inputs. */
  readonly layers: readonly LayerError[];
  /** What one should know before such a file is shipped, a line each. */
  readonly warnings: readonly string[];
  /** Why the model is of no use; undefined: it is. */
  readonly collapsed: string | undefined;
}

/**
 * From where it is said (shares). Trained ViTs are 0.5 to 3 % off, their layers up to 2 %, and GELU leaves up to 30 % of what it
 * gives within half a step of 0.
 */
const limits = {
  /** Outputs that are so far off are warned of; */
  far: 0.05,
  /** and such ones are of no use. */
  useless: 0.5,
  /** A layer whose outputs are so far off, on exact inputs, is warned of. */
  layer: 0.05,
  /** A layer that loses that much of what it reads or holds has no numbers left but its outliers: of no use, */
  lost: 0.75,
  /** where the model's outputs show it. */
  shows: 0.05,
  /** Less than that of the weights taken up: most of the model is as it was. */
  most: 0.5,
} as const;

/** A channel that many times as large as half of them is an outlier. */
const outlier = 20;

/**
 * Tries a quantized model and its source on the same noise, and looks at what became of the weights.
 * @param source float32: what `quantized` was made from
 * @param record what was done to it
 */
export async function selfCheck(
  engine: Engine,
  source: Graph,
  quantized: Graph,
  record: Quantization,
): Promise<SelfCheck> {
  const warnings = sizeWarnings(source, quantized);
  const unknown = (why: string): SelfCheck => ({
    relative: null,
    layers: [],
    warnings: [...warnings, `not checked on noise: ${why}`],
    collapsed: undefined,
  });
  let feeds: Tensors;
  try {
    feeds = noiseFeeds(source);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return unknown(error.message);
  }
  let exact: Awaited<ReturnType<typeof layerErrors>>;
  try {
    exact = await layerErrors(engine, source, quantized, record, feeds);
  } catch (error) {
    return unknown(`the float32 model does not run: ${(error as Error).message}`);
  }
  const { outputs, layers } = exact;
  if (Object.values(outputs).some((output) => output.dtype === 'float32' && !allFinite(output))) {
    return unknown('the float32 model gives something that is no number');
  }
  const found = await runQuantized(engine, quantized, feeds);
  const relative = Math.max(
    0,
    ...source.outputs.map(({ name }, i) => distance(found[quantized.outputs[i]!.name]!, outputs[name]!)),
  );
  const collapsed = await collapse(engine, source, quantized, feeds, relative, layers);
  if (relative > limits.far) warnings.push(`on noise the outputs are ${percent(relative)} from float32's`);
  return { relative, layers, warnings: [...warnings, ...layerWarnings(layers)], collapsed };
}

/** What could be seen without running anything. */
function sizeWarnings(source: Graph, quantized: Graph): string[] {
  const [before, after] = [source, quantized].map(bytesByType) as [TypeBytes, TypeBytes];
  const warnings: string[] = [];
  if (after.all > before.all) {
    warnings.push(`the weights are larger than before: ${before.all} bytes became ${after.all}`);
  }
  const left = after.float32 / before.all;
  if (left > 1 - limits.most)
    warnings.push(`${percent(left)} of the weights stay in float32: most of the model is as it was`);
  return warnings;
}

interface TypeBytes {
  readonly all: number;
  readonly float32: number;
}

function bytesByType(graph: Graph): TypeBytes {
  const sum = { all: 0, float32: 0 };
  for (const { tensor, dtype } of graph.constants.values()) {
    const bytes = storedBytes(tensor!.dtype, tensor!.shape) || 0;
    sum.all += bytes;
    if (dtype === 'float32') sum.float32 += bytes;
  }
  return sum;
}

/** How many layers are named. */
const shown = 3;

function layerWarnings(layers: readonly LayerError[]): string[] {
  const bad = layers.filter(({ error }) => error > limits.layer).sort((a, b) => b.error - a.error);
  const lines = bad.slice(0, shown).map(changes);
  if (bad.length > shown)
    lines.push(`and those of ${bad.length - shown} layers more by over ${percent(limits.layer)}`);
  return lines;
}

const changes = (layer: LayerError): string =>
  `int8 changes the outputs of ${layer.name} by ${percent(layer.error)}${because(layer)}`;

/** Where a channel, or a few large weights, are to blame: which. */
function because({ channel, largest, median, lostWeights, lostInputs }: LayerError): string {
  if (largest > outlier * median) {
    return `: channel ${channel} of its inputs reaches ${figure(largest)}, half of the channels not ${figure(median)}; beside it ${percent(lostInputs)} of what it reads becomes 0`;
  }
  return lostWeights > limits.most
    ? `: ${percent(lostWeights)} of its weights become 0 beside larger ones`
    : '';
}

/** Why a model is of no use; undefined where it is. */
async function collapse(
  engine: Engine,
  source: Graph,
  quantized: Graph,
  feeds: Tensors,
  relative: number,
  layers: readonly LayerError[],
): Promise<string | undefined> {
  const lost = (layer: LayerError) => Math.max(layer.lostInputs, layer.lostWeights);
  const emptied = layers.filter((layer) => lost(layer) > limits.lost);
  const suspects = relative > limits.shows && emptied.length > 0 ? emptied : layers;
  if (suspects === layers && relative <= limits.useless) return undefined;
  const [worst] = [...suspects].sort((a, b) => b.error - a.error);
  if (worst && (suspects === emptied || worst.error > limits.layer)) return changes(worst);
  const first = await firstFar(engine, source, quantized, feeds);
  const outputs = `on noise the outputs are ${percent(relative)} from float32's`;
  return first ? `${outputs}; ${first} is the first layer that gives something else` : outputs;
}

/** The first layer that gives something else in the quantized model than in its source, by its weight's name. */
async function firstFar(
  engine: Engine,
  source: Graph,
  quantized: Graph,
  feeds: Tensors,
): Promise<string | undefined> {
  const layers = layersOf(source).filter(({ output }) => quantized.find(output.name));
  const watched = (of: Graph) => {
    const { graph } = of.clone();
    graph.outputs.splice(0, Infinity, ...layers.map(({ output }) => graph.find(output.name)!));
    return graph;
  };
  const wanted = await runInParts(engine, watched(source), feeds);
  const given = await runQuantized(engine, watched(quantized), feeds);
  return layers.find(({ output: { name } }) => distance(given[name]!, wanted[name]!) > limits.useless)?.weight
    .name;
}

/** Runs a model that may take and give float16, as one that takes and gives float32. */
async function runQuantized(engine: Engine, graph: Graph, feeds: Tensors): Promise<Tensors> {
  const types = new Map(graph.inputs.map(({ name, dtype }) => [name, dtype]));
  const given = await cast(engine, feeds, (name) => types.get(name) === 'float16', 'float16');
  const found = await runInParts(engine, graph, given);
  return cast(engine, found, (name) => found[name]!.dtype === 'float16', 'float32');
}

async function cast(
  engine: Engine,
  tensors: Tensors,
  which: (name: string) => boolean,
  to: Extract<DataType, 'float16' | 'float32'>,
): Promise<Tensors> {
  const result: Tensors = {};
  for (const [name, tensor] of Object.entries(tensors)) {
    result[name] = which(name) ? (await castTensors(engine, [tensor], to))[0]! : tensor;
  }
  return result;
}

const allFinite = ({ floats }: Tensor): boolean => floats.every(Number.isFinite);

/** The norm of the difference over that of `wanted`; infinite where `given` has something that is no number. */
function distance(given: Tensor, wanted: Tensor): number {
  if (wanted.dtype !== 'float32') return 0;
  const values = given.floats;
  let off = 0;
  let all = 0;
  for (const [i, value] of wanted.floats.entries()) {
    const difference = values[i]! - value;
    if (!Number.isFinite(difference)) return Number.POSITIVE_INFINITY;
    off += difference * difference;
    all += value * value;
  }
  return off === 0 ? 0 : Math.sqrt(off / all);
}

const percent = (share: number): string =>
  Number.isFinite(share) ? `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %` : 'infinitely far';
const figure = (value: number): string => value.toPrecision(3);
