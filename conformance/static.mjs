// Quantizes a small ViT in every form and with every observer, on calibration images given as raw float32.
// Request on stdin: { folder, images: path, shape }; answer: { models: [{ file, scheme, form, observer, backend, weights, exactSums }] }.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  exactOn,
  forms,
  initModel,
  numbersOf,
  observers,
  onnxruntime,
  quantizeDynamic,
  quantizedLayers,
  quantizeStatic,
  Tensor,
  toForm,
  writeOnnx,
} from 'pqv-mobile/node';

const { folder, images, shape } = JSON.parse(readFileSync(0, 'utf8'));
const graph = initModel({
  architecture: 'deit_tiny_patch16_224',
  modelArgs: { img_size: shape[2], patch_size: 8, depth: 4 },
  numClasses: 100,
});
// Fresh weights are so small that every block is nearly the identity: make them count.
for (const value of graph.constants.values()) {
  if (value.shape.length === 2) {
    const { floats } = value.tensor;
    graph.setConstant(
      value,
      Tensor.float32(
        value.shape,
        floats.map((w) => 3 * w),
      ),
    );
  }
}
const bytes = readFileSync(images);
const pixels = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
const size = pixels.length / shape[0];
const batchSize = 7;
async function* data() {
  for (let from = 0; from < shape[0]; from += batchSize) {
    const to = Math.min(shape[0], from + batchSize);
    yield { pixels: Tensor.float32([to - from, ...shape.slice(1)], pixels.subarray(from * size, to * size)) };
  }
}

const models = [];
const write = (file, model, about = {}) => {
  writeFileSync(join(folder, file), writeOnnx(model));
  models.push({ file, ...about });
};
write('fp32.onnx', graph, { scheme: 'fp32' });
const choices = [
  { backend: 'mlas', weights: 'safe' },
  { backend: 'mlas', weights: 'torch' },
  { backend: 'fbgemm', weights: 'torch' },
];
/** Convolutions store a kernel, which `src/quantize/convolution.test.ts` looks at. */
const linearsOf = (model) => quantizedLayers(model).filter(({ product }) => product.op !== 'Conv');
for (const choice of choices) {
  const { backend, weights } = choice;
  const exactSums = exactOn(numbersOf(choice), 'dynamic') === 'every processor';
  const variants = [{ scheme: 'dynamic', model: await quantizeDynamic(onnxruntime, graph, choice) }];
  for (const observer of Object.keys(observers)) {
    const model = await quantizeStatic(onnxruntime, graph, { ...choice, observer, data: data() });
    variants.push({ scheme: 'static', observer, model });
  }
  for (const { model, ...about } of variants) {
    const layers = linearsOf(model).map(({ input, activation, weight, weightScale }) => ({
      input: input.name,
      weight: weight.name,
      weightScale: weightScale.name,
      ...(activation ? { scale: activation.scale.name, zeroPoint: activation.zeroPoint.name } : {}),
    }));
    for (const form of forms) {
      const file = `${backend}-${weights}-${about.scheme}-${about.observer ?? ''}-${form}.onnx`;
      write(file, toForm(model, form), {
        ...about,
        ...choice,
        exactSums,
        form,
        ...(form === 'qdq' ? { layers } : {}),
      });
    }
  }
}
process.stdout.write(JSON.stringify({ models }));
