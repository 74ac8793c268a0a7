import { existsSync } from 'node:fs';
import { extname } from 'node:path';
import { UserError } from '../common/errors.ts';
import { formatOfFile } from '../export/formats.node.ts';
import type { Graph } from '../graph/graph.ts';
import { loadModel, modelExtensions } from '../zoo/load.node.ts';
import type { ModelReading } from '../zoo/load-options.ts';

/**
 * Loads the model that a command was given, as `loadModel`.
 * @throws UserError as `loadModel`, and on a file that was exported for a runtime, saying what it is good for
 */
export async function openModel(reference: string, options: ModelReading = {}): Promise<Graph> {
  const format = formatOfFile(reference);
  if (format && !modelExtensions.has(extname(reference).toLowerCase()) && existsSync(reference)) {
    const timed = format.runtime ? `it can be timed (pqv bench --runtime ${format.runtime.name}), ` : '';
    throw new UserError(
      `${reference} is a file for a runtime (${format.about}): ${timed}for anything else give the model it was exported from`,
    );
  }
  return loadModel(reference, options);
}
