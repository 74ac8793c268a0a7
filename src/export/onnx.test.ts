import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { UserError } from '../common/errors.ts';
import type { Graph } from '../graph/graph.ts';
import { readOnnx } from '../onnx/read.ts';
import { writeOnnx } from '../onnx/write.ts';
import { quantizeDynamic } from '../quantize/dynamic.ts';
import { toFloat16 } from '../quantize/float16.ts';
import { forms } from '../quantize/forms.ts';
import { quantization } from '../quantize/record.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { buildVisionTransformer } from '../zoo/families/vision-transformer/build.ts';
import { randomParameters } from '../zoo/parameter-source.ts';
import { writeChecked } from './artifact.node.ts';
import { exportModelFile } from './export-file.node.ts';
import { verifyArtifact } from './verify.ts';

const folder = mkdtempSync(join(tmpdir(), 'pqv-export-'));
afterAll(() => rmSync(folder, { recursive: true }));

const args = { img_size: 32, patch_size: 8, embed_dim: 48, depth: 2, num_heads: 4, num_classes: 10 };
const build = (seed = 1) => buildVisionTransformer(args, randomParameters(seed));
const precisions: [string, (graph: Graph) => Promise<Graph>][] = [
  ['fp32', async (graph) => graph],
  ['int8', (graph) => quantizeDynamic(onnxruntime, graph)],
  ['fp16', (graph) => toFloat16(onnxruntime, graph)],
  ['fp16 in and out', (graph) => toFloat16(onnxruntime, graph, { io: 'float16' })],
  ['fp16 weights', (graph) => toFloat16(onnxruntime, graph, { compute: 'float32' })],
];

describe.each(precisions)('%s', (name, lower) => {
  it('is written as ONNX, verified, with its notes inside', async () => {
    const graph = await lower(build());
    graph.metadata.set('maker.note', '{"preprocessing":1}');
    const path = join(folder, `${name}.onnx`);
    const { verified } = await exportModelFile(onnxruntime, graph, 'onnx', path);
    expect(verified).toBe('run');
    const written = readOnnx(readFileSync(path));
    expect(written.metadata.get('maker.note')).toBe('{"preprocessing":1}');
    expect(quantization(written)).toEqual(quantization(graph));
    if (name === 'fp16 weights') expect(written.constants.get('head.weight')!.dtype).toBe('float16');
  });

  it('is written in ORT format, verified', async () => {
    const path = join(folder, `${name}.ort`);
    const { verified } = await exportModelFile(onnxruntime, await lower(build()), 'ort', path);
    expect(verified).toBe('run');
    expect(readFileSync(path).subarray(4, 8).toString()).toBe('ORTM');
  });
});

describe('int8 forms', () => {
  it.each(forms)('%s is written as ONNX, verified', async (form) => {
    const graph = await quantizeDynamic(onnxruntime, build());
    const path = join(folder, `${form}.onnx`);
    await exportModelFile(onnxruntime, graph, 'onnx', path, { form });
    const ops = readOnnx(readFileSync(path)).nodes.map((node) => node.op);
    expect(ops.includes('com.microsoft.DynamicQuantizeMatMul')).toBe(form === 'fused');
  });

  it('are for int8 models', async () => {
    const path = join(folder, 'none.onnx');
    const refused = exportModelFile(onnxruntime, build(), 'onnx', path, { form: 'qdq' });
    await expect(refused).rejects.toThrow(UserError);
  });
});

describe('verifyArtifact', () => {
  it('refuses what computes something else', async () => {
    const other = verifyArtifact(onnxruntime, build(), writeOnnx(build(2)));
    await expect(other).rejects.toThrow(/computes something else/);
  });

  it('refuses what lost an axis or does not load', async () => {
    const wide = buildVisionTransformer({ ...args, num_classes: 11 }, randomParameters(1));
    await expect(verifyArtifact(onnxruntime, build(), writeOnnx(wide))).rejects.toThrow(/\[2,11\]/);
    await expect(verifyArtifact(onnxruntime, build(), new Uint8Array(100))).rejects.toThrow();
  });
});

describe('writeChecked', () => {
  const path = join(folder, 'kept', 'model.bin');

  it('leaves what was there when the check fails, and nothing else', async () => {
    await writeChecked(
      path,
      (draft) => writeFileSync(draft, 'good'),
      async () => {},
    );
    const failing = writeChecked(
      path,
      (draft) => writeFileSync(draft, 'bad'),
      async () => {
        throw new Error('no good');
      },
    );
    await expect(failing).rejects.toThrow('no good');
    expect(readFileSync(path, 'utf8')).toBe('good');
    expect(readdirSync(join(folder, 'kept'))).toEqual(['model.bin']);
  });

  it('names the place that can not be written', async () => {
    const inside = join(path, 'model.onnx');
    await expect(exportModelFile(onnxruntime, build(), 'onnx', inside)).rejects.toThrow(UserError);
    expect(existsSync(inside)).toBe(false);
  });
});
