import { statSync } from 'node:fs';
import { writeOnnxArtifact } from '../export/onnx.node.ts';
import { writeOrtArtifact } from '../export/ort.node.ts';
import { saveLite, saveTorchScript } from '../export/torchscript/files.node.ts';
import type { Graph } from '../graph/graph.ts';
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

interface Format {
  extension: string;
  /** Writes the file and checks it; what can't be right does not stay. */
  write(engine: Engine, graph: Graph, path: string): Promise<unknown>;
}

export const formatTable: Record<ExportFormat, Format> = {
  onnx: { extension: 'onnx', write: writeOnnxArtifact },
  ort: { extension: 'ort', write: writeOrtArtifact },
  torchscript: { extension: 'pt', write: async (_engine, graph, path) => saveTorchScript(graph, path) },
  ptl: { extension: 'ptl', write: async (_engine, graph, path) => saveLite(graph, path) },
};

/** Writes a model in a format. @throws UserError when the place can't be written or an op has no form there */
export async function exportModelFile(
  engine: Engine,
  graph: Graph,
  format: ExportFormat,
  path: string,
): Promise<Artifact> {
  await formatTable[format].write(engine, graph, path);
  const external = statSync(`${path}.data`, { throwIfNoEntry: false })?.size ?? 0;
  return { format, file: path, bytes: statSync(path).size + external };
}
