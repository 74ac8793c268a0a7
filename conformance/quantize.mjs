// Quantizes a DeiT-Tiny with every dynamic backend and to every kind of float16, as it stands and as it ships.
// Request on stdin: { folder }; answer: { models: [{ file, dtype, backend?, weights?, reduceRange?, layers? }] }.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  backends,
  exportModelFile,
  initModel,
  linears,
  numbersOf,
  onnxruntime,
  quantizeDynamic,
  quantizedLayers,
  Tensor,
  toFloat16,
  writeOnnx,
} from 'pqv-mobile/node';

const { folder } = JSON.parse(readFileSync(0, 'utf8'));
const fresh = initModel({ architecture: 'deit_tiny_patch16_224' });
// Fresh weights are so small that every block is nearly the identity: make them count.
const { graph } = fresh.clone();
for (const { weight } of linears(graph)) {
  const { shape, tensor } = weight;
  graph.setConstant(
    weight,
    Tensor.float32(
      shape,
      tensor.floats.map((w) => 3 * w),
    ),
  );
}

const models = [];
const write = async (name, model, about) => {
  writeFileSync(join(folder, `${name}.onnx`), writeOnnx(model));
  models.push({ file: `${name}.onnx`, ...about });
  await exportModelFile(onnxruntime, model, 'onnx', join(folder, `${name}.shipped.onnx`));
  models.push({ file: `${name}.shipped.onnx`, ...about, layers: undefined });
};
await write('fp32', graph, { dtype: 'fp32', of: 'fp32' });
const choices = Object.keys(backends).map((backend) => ({ backend, weights: 'torch' }));
for (const { backend, weights } of [{ backend: 'mlas', weights: 'safe' }, ...choices]) {
  const model = await quantizeDynamic(onnxruntime, graph, { backend, weights });
  const { reduceRange } = numbersOf({ backend, weights });
  const linears = quantizedLayers(model).filter(({ product }) => product.op !== 'Conv');
  const layers = linears.map(({ weight, weightScale }) => ({
    weight: weight.name,
    scale: weightScale.name,
  }));
  await write(`int8-${backend}-${weights}`, model, { dtype: 'int8', backend, weights, reduceRange, layers });
}
await write('fresh', fresh, { dtype: 'fp32', of: 'fresh' });
for (const [of, model] of Object.entries({ fp32: graph, fresh })) {
  const kinds = { '': {}, '-io': { io: 'float16' }, '-weights': { compute: 'float32' } };
  for (const [kind, options] of Object.entries(kinds)) {
    await write(`${of}-fp16${kind}`, await toFloat16(onnxruntime, model, options), { dtype: 'fp16', of });
  }
}
process.stdout.write(JSON.stringify({ models }));
