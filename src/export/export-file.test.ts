import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { quantizeInt4 } from '../quantize/int4.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { loadModel } from '../zoo/load.node.ts';
import { initModel } from '../zoo/model.ts';
import { exportModelFile } from './export-file.node.ts';

const folder = mkdtempSync(join(tmpdir(), 'pqv-export-file-'));
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => vi.unstubAllEnvs());

const model = () =>
  initModel({
    architecture: 'vit_tiny_patch16_224',
    modelArgs: { img_size: 32, embed_dim: 32, depth: 1, num_heads: 2 },
    numClasses: 3,
  });

const write = (format: string, name: string, options = {}) =>
  exportModelFile(onnxruntime, model(), format, join(folder, name, `model.${name}`), options);

describe('exportModelFile', () => {
  it.each([
    ['onnx', 'onnx'],
    ['ort', 'ort'],
    ['torchscript', 'pt'],
    ['ptl', 'ptl'],
    ['tflite', 'tflite'],
  ])('%s that takes pixels and gives probabilities', async (format, extension) => {
    vi.stubEnv('PQV_PYTHON', '');
    const path = join(folder, 'app', `model.${extension}`);
    await exportModelFile(onnxruntime, model(), format, path, { input: 'pixels', scores: 'probabilities' });
    if (format !== 'onnx') return;
    const again = await loadModel(path);
    expect(again.inputs[0]).toMatchObject({ dtype: 'float32', shape: ['N', 3, 32, 32] });
    expect(again.outputs[0]!.producer!.op).not.toBe('Softmax');
  });

  it.each(['onnx', 'ort'])('%s of four bits, activations too, is what the model computes', async (format) => {
    const int4 = await quantizeInt4(onnxruntime, model(), { activations: 'int4' });
    const path = join(folder, 'four', `model.${format}`);
    expect((await exportModelFile(onnxruntime, int4, format, path)).verified).toBe('run');
  });

  it.each(['torchscript', 'ptl'])(
    '%s: checked by its structure, and says so, without a Python',
    async (format) => {
      vi.stubEnv('PQV_PYTHON', '');
      const { verified, notes } = await write(format, format === 'ptl' ? 'ptl' : 'pt');
      expect(verified).toBe('structure');
      expect(notes).toEqual([expect.stringMatching(/not run: set PQV_PYTHON/)]);
    },
  );

  it.skipIf(process.platform === 'win32')(
    'leaves nothing when the runtime refuses what was written',
    async () => {
      const python = join(folder, 'python');
      writeFileSync(
        python,
        '#!/bin/sh\n[ "$2" = "import torch" ] && exit 0\ncat > /dev/null; echo "no such operator" >&2; exit 1\n',
      );
      chmodSync(python, 0o755);
      vi.stubEnv('PQV_PYTHON', python);
      const path = join(folder, 'refused', 'model.ptl');
      const refused = exportModelFile(onnxruntime, model(), 'ptl', path);
      await expect(refused).rejects.toThrow(`PyTorch can't run ${path}: no such operator`);
      expect(readdirSync(join(folder, 'refused'))).toEqual([]);
    },
  );

  it.each([
    ['onnx', 'onnx', { xnnpack: true }, '--xnnpack is for --format ptl, not onnx'],
    ['ort', 'ort', { form: 'qdq' }, '--form is for --format onnx, not ort'],
    ['ptl', 'onnx', {}, /is named as --format onnx is; the format ptl goes into a \.ptl file/],
    ['onnx', 'onnx', { form: 'quick' }, 'option form: it must be one of fused, integer, qdq, not "quick"'],
    ['onnx', 'onnx', { froms: 'qdq' }, 'no option froms; there are form'],
    ['png', 'png', {}, 'no format "png"; there are onnx, ort, ptl, tflite, torchscript'],
  ])('%s into .%s with %o is refused', async (format, name, options, message) => {
    await expect(write(format, name, options)).rejects.toThrow(message);
  });
});
