import { inMemory } from '../checkpoint/safetensors.ts';
import { deployable, type OnnxOptions } from '../export/onnx.ts';
import { checkArchive } from '../export/torchscript/check-archive.ts';
import { exportLite, type LiteOptions } from '../export/torchscript/lite.ts';
import { exportTorchScript } from '../export/torchscript/script.ts';
import { verifyArtifact } from '../export/verify.ts';
import type { Graph } from '../graph/graph.ts';
import { concatenate, writeOnnx } from '../onnx/write.ts';
import { optimizeForTorch } from '../optimize/optimize-for-torch.ts';
import { toForm } from '../quantize/forms.ts';
import type { Engine } from '../runtime/session.ts';

/** The kind of file, and what can be asked of it. */
export type ExportModelOptions =
  | ({ format: 'onnx' } & OnnxOptions)
  | { format: 'torchscript' }
  | ({ format: 'ptl' } & LiteOptions);

/** A file that ships, in memory. */
export interface ExportedModel {
  /** `model.onnx`, `model.pt` or `model.ptl`. */
  name: string;
  bytes: Uint8Array;
  /** Loaded, run and compared with the model; or read back and found to hold together. */
  verified: 'run' | 'structure';
}

/**
 * The file that a runtime loads, laid out for it and checked. `onnx` is loaded, run and compared with the
 * model; `torchscript` and `ptl` (PyTorch Lite) are read back. On Node, `exportModelFile` writes to disk, knows
 * more formats, and has PyTorch run its files.
 *
 * @example
 * ```js
 * const { name, bytes } = await exportModel(engine, model, { format: 'onnx' });
 * const link = URL.createObjectURL(new Blob([bytes])); // in a browser: offer it for download
 * ```
 * @throws UserError when an op has no form in the format, or the file would pass 2 GiB
 * @throws Error when what was written does not compute what the model does
 */
export async function exportModel(
  engine: Engine,
  model: Graph,
  options: ExportModelOptions,
): Promise<ExportedModel> {
  if (options.format === 'onnx') {
    const { form } = options;
    const bytes = writeOnnx(await deployable(engine, model, { form }));
    await verifyArtifact(engine, form ? toForm(model, form) : model, bytes);
    return { name: 'model.onnx', bytes, verified: 'run' };
  }
  const lite = options.format === 'ptl';
  const pieces = lite
    ? exportLite(await optimizeForTorch(engine, model), { xnnpack: options.xnnpack })
    : exportTorchScript(model);
  const bytes = concatenate([...pieces]);
  const name = lite ? 'model.ptl' : 'model.pt';
  checkArchive(inMemory(bytes, name), lite ? 'lite' : 'torchscript');
  return { name, bytes, verified: 'structure' };
}
