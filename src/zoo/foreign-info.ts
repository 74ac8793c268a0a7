import { parseJson } from '../common/json.ts';
import { fromTimmConfig, type Preprocessing } from '../dataset/preprocessing.ts';
import { Builder } from '../graph/builder.ts';
import type { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { takePixelInput } from '../import/pixel-input.ts';
import { modelInfo, setModelInfo } from './model-info.ts';
import { classNamesOf } from './timm-config.ts';
import { type ConfigFile, labelsOf } from './transformers/model.ts';
import { readPreprocessor } from './transformers/preprocessing.ts';

/** Files that lie beside a model, of those that say how it is used. */
export interface FilesBeside {
  /** timm's or that of transformers. */
  readonly config?: ConfigFile | undefined;
  readonly preprocessor?: ConfigFile | undefined;
}

/**
 * Notes in a graph from elsewhere how images are prepared, by what it did to them itself or by the files beside it, and
 * what the classes are called. What it did itself is taken out of it: our models take prepared images.
 * A model that takes blue before red is given red before blue from then on.
 * @throws UserError naming file and field when one can't be honoured
 */
export function noteForeign(
  graph: Graph,
  { config, preprocessor }: FilesBeside,
  say: (line: string) => void,
): void {
  const pixels = takePixelInput(graph);
  if (pixels) say(`${pixels.took}: taken out of the graph, which takes prepared images [N, C, H, W] now`);
  if (!config && !preprocessor && !pixels?.normalization) return;
  const info = modelInfo(graph);
  const [channels, ...size] = info.preprocessing.inputSize;
  const fields = config && record(parseJson(config.text, config.path));
  const told = preprocessor && readPreprocessor(preprocessor.text, preprocessor.path, channels, size);
  if (told?.reversedChannels) turnChannels(graph);
  const beside =
    told?.preprocessing ?? (fields && timmPreprocessing(fields, config.path, info.preprocessing));
  const preprocessing = pixels?.normalization
    ? { ...(beside ?? info.preprocessing), ...pixels.normalization }
    : beside;
  const names =
    fields && (labelsOf(fields.id2label, info.numClasses) ?? classNamesOf(fields, info.numClasses));
  setModelInfo(graph, {
    ...info,
    ...(names ? { classNames: [...names] } : {}),
    ...(preprocessing
      ? {
          preprocessing: { ...preprocessing, inputSize: info.preprocessing.inputSize },
          preprocessingFrom: 'config',
        }
      : {}),
  });
}

type Fields = Readonly<Record<string, unknown>>;

const record = (value: unknown): Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};

/** Of timm's configuration, where it is one. */
function timmPreprocessing(fields: Fields, path: string, own: Preprocessing): Preprocessing | undefined {
  const input = record(fields.pretrained_cfg ?? fields);
  if (!('mean' in input && 'std' in input)) return undefined;
  return fromTimmConfig({ ...input, input_size: own.inputSize }, path);
}

function turnChannels(graph: Graph): void {
  const [images] = graph.inputs;
  const readers = [...images!.uses];
  const turned = new Builder(graph).op('Gather', [images!, Tensor.int64([2, 1, 0])], { axis: 1 });
  for (const { node, index } of readers) node.setInput(index, turned);
  graph.sort();
}
