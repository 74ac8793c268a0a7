import { basename, dirname, join } from 'node:path';
import { writeFileWhole } from '../common/files.node.ts';
import { toForm } from '../quantize/forms.ts';
import { onnxruntimeFiles } from '../runtime/runtimes.node.ts';
import { format } from './format.ts';
import { exportOnnx, onnxOptions } from './onnx.ts';
import { verifyArtifact } from './verify.ts';

/** `.onnx`; above 1 GiB with its weights beside it in `NAME.data`. Loaded, run and compared in the same form. */
export const onnxFormat = format({
  name: 'onnx',
  extension: '.onnx',
  about: 'ONNX Runtime on servers, desktops and phones, and in browsers',
  runtime: onnxruntimeFiles,
  options: onnxOptions,
  async write({ engine, graph, path, options }) {
    const external = `${basename(path)}.data`;
    const { model, weights } = await exportOnnx(engine, graph, { ...options, external });
    if (weights) writeFileWhole(join(dirname(path), external), weights);
    writeFileWhole(path, model);
  },
  async verify({ engine, graph, path, options: { form } }) {
    await verifyArtifact(engine, form ? toForm(graph, form) : graph, path);
    return undefined;
  },
});
