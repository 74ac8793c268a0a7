import * as z from 'zod';
import { UserError } from '../common/errors.ts';
import { readWholeFile } from '../common/files.node.ts';
import { withDequantizedKernels } from '../quantize/forms.ts';
import { onnxruntimeFiles } from '../runtime/runtimes.node.ts';
import { format } from './format.ts';
import { deployable } from './onnx.ts';
import { ortContents } from './ort-contents.ts';
import { verifyArtifact } from './verify.ts';

/**
 * ORT format, ONNX Runtime's own flatbuffer, which minimal builds for phones and the browser load without
 * an ONNX parser. The engine writes it itself, after its hardware-independent rewrites (which widen
 * weights that are only stored as float16); it is then loaded, run and compared with the graph. The list of kernels in
 * it is in the order of the engine's memory: two files of one model differ in those bytes.
 */
export const ortFormat = format({
  name: 'ort',
  extension: '.ort',
  about: 'ONNX Runtime builds for phones, which load it without parsing',
  runtime: onnxruntimeFiles,
  options: z.strictObject({}),
  async write({ engine, graph, path }) {
    const optimized = await deployable(engine, withDequantizedKernels(graph));
    try {
      const session = await engine.load(optimized, {
        optimization: 'extended',
        saveTo: path,
        config: { 'session.save_model_format': 'ORT' },
      });
      await session.dispose();
    } catch (error) {
      // The engine says no more than this when the disk is full; its folder has just been made.
      if (!/Failed to save ORT format model/.test(`${error}`)) throw error;
      throw new UserError(`can't write ${path}: the disk is full, or the file is too large for it`);
    }
  },
  async verify({ engine, graph, path }) {
    await verifyArtifact(engine, graph, path);
    return undefined;
  },
  contents: (path) => ortContents(readWholeFile(path), path),
});
