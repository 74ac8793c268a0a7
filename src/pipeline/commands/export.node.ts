import { type Artifact, exportModelFile } from '../../export/export-file.node.ts';
import { localContext } from '../context.node.ts';
import { openModel } from '../open.node.ts';
import type { CommandOptions } from './command.node.ts';

/** Writes the file a runtime loads. @param options of the format */
export async function exportModel(
  reference: string,
  output: string,
  format: string,
  options: Readonly<Record<string, unknown>>,
  command: CommandOptions,
): Promise<Artifact> {
  const { engine } = localContext(command);
  const graph = await openModel(reference, command);
  return exportModelFile(engine, graph, format, output, options);
}
