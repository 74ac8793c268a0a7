import { statSync } from 'node:fs';
import { UserError } from '../errors.ts';
import { writeOnnxArtifact } from '../export/onnx.node.ts';
import type { OnnxOptions } from '../export/onnx.ts';
import { writeOrtArtifact } from '../export/ort.node.ts';
import { saveLite, saveTorchScript } from '../export/torchscript/files.node.ts';
import type { LiteOptions } from '../export/torchscript/lite.ts';
import type { Graph } from '../graph/graph.ts';
import { optimizeForTorch } from '../optimize/optimize-for-torch.ts';
import type { Engine } from '../runtime/session.ts';
import type { formats } from './recipe.ts';

export type ExportFormat = (typeof formats)[number];

/** A file that ships. */
export interface Artifact {
  format: ExportFormat;
  file: string;
  /** Weights in a file beside it included. */
  bytes: number;
}

/** What some formats can be told. */
export type ExportOptions = OnnxOptions & LiteOptions;

interface Format {
  extension: string;
  /** Writes the file and checks it; what can't be right does not stay. */
  write(engine: Engine, graph: Graph, path: string, options: ExportOptions): Promise<unknown>;
}

export const formatTable: Record<ExportFormat, Format> = {
  onnx: { extension: 'onnx', write: writeOnnxArtifact },
  ort: { extension: 'ort', write: writeOrtArtifact },
  torchscript: { extension: 'pt', write: async (_engine, graph, path) => saveTorchScript(graph, path) },
  ptl: {
    extension: 'ptl',
    write: async (engine, graph, path, options) =>
      saveLite(await optimizeForTorch(engine, graph), path, options),
  },
};

/** The one format that each option is for. */
const optionFormats: Record<keyof ExportOptions, ExportFormat> = { form: 'onnx', xnnpack: 'ptl' };

/**
 * Writes a model in a format.
 * @throws UserError when the place can't be written, an op has no form there, or an option
 *   is of another format
 */
export async function exportModelFile(
  engine: Engine,
  graph: Graph,
  format: ExportFormat,
  path: string,
  options: ExportOptions = {},
): Promise<Artifact> {
  for (const [option, wanted] of Object.entries(optionFormats)) {
    if (options[option as keyof ExportOptions] && format !== wanted) {
      throw new UserError(`--${option} is for --format ${wanted}, not ${format}`);
    }
  }
  await formatTable[format].write(engine, graph, path, options);
  const external = statSync(`${path}.data`, { throwIfNoEntry: false })?.size ?? 0;
  return { format, file: path, bytes: statSync(path).size + external };
}
