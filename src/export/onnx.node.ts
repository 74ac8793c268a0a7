import { basename, dirname, join } from 'node:path';
import { writeFileWhole } from '../common/files.node.ts';
import type { Graph } from '../graph/graph.ts';
import { toForm } from '../quantize/forms.ts';
import type { Engine } from '../runtime/session.ts';
import { writeChecked } from './artifact.node.ts';
import { exportOnnx, type OnnxOptions } from './onnx.ts';
import { type Verification, verifyArtifact } from './verify.ts';

/**
 * Writes the `.onnx` file that ships (above 1 GiB with its weights beside it in `NAME.data`), loads it,
 * runs it and compares it with the graph, in the same form, before it takes its place.
 * @throws UserError when the place can't be written; Error when the file does not compute what the graph does
 */
export async function writeOnnxArtifact(
  engine: Engine,
  graph: Graph,
  path: string,
  options: OnnxOptions = {},
): Promise<Verification> {
  const external = `${basename(path)}.data`;
  const { model, weights } = await exportOnnx(engine, graph, { ...options, external });
  return writeChecked(
    path,
    (draft) => {
      if (weights) writeFileWhole(join(dirname(draft), external), weights);
      writeFileWhole(draft, model);
    },
    (draft) => verifyArtifact(engine, options.form ? toForm(graph, options.form) : graph, draft),
  );
}
