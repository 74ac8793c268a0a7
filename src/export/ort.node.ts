import { UserError } from '../common/errors.ts';
import type { Graph } from '../graph/graph.ts';
import type { Engine } from '../runtime/session.ts';
import { writeChecked } from './artifact.node.ts';
import { deployable, type OnnxOptions } from './onnx.ts';
import { type Verification, verifyArtifact } from './verify.ts';

/**
 * Writes the model in ORT format, ONNX Runtime's own flatbuffer, which minimal builds for phones and the
 * browser load without an ONNX parser. The engine writes it itself, after its hardware-independent
 * rewrites (which widen weights that are only stored as float16); it is then loaded, run and compared with the graph before it takes its place.
 * @throws UserError when the place can't be written; Error when the file does not compute what the graph does
 */
export async function writeOrtArtifact(
  engine: Engine,
  graph: Graph,
  path: string,
  options: OnnxOptions = {},
): Promise<Verification> {
  const optimized = await deployable(engine, graph, options);
  return writeChecked(
    path,
    async (draft) => {
      try {
        const session = await engine.load(optimized, {
          optimization: 'extended',
          saveTo: draft,
          config: { 'session.save_model_format': 'ORT' },
        });
        await session.dispose();
      } catch (error) {
        // The engine says no more than this when the disk is full; its folder has just been made.
        if (!/Failed to save ORT format model/.test(`${error}`)) throw error;
        throw new UserError(`can't write ${draft}: the disk is full, or the file is too large for it`);
      }
    },
    (draft) => verifyArtifact(engine, graph, draft),
  );
}
