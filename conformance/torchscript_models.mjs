// Exports models for check_torchscript.py. Standard input: JSON [{"model": FOLDER, "dtype"?, "backend"?: NAME, "weights"?: NAME, "scheme"?, "images"?:
// {"file", "shape"}, "onnx"?: PATH, "files": [PATH]}], each file .pt or (optimized) .ptl by its ending; with a backend the model is
// quantized to int8 first (static: calibrated on the images). What ONNX Runtime computes of the images goes to "onnx".
import { readFileSync, writeFileSync } from 'node:fs';
import {
  exportLite,
  exportTorchScript,
  loadModel,
  onnxruntime,
  optimizeForTorch,
  quantizeDynamic,
  quantizeStatic,
  runOnce,
  Tensor,
  toFloat16,
} from 'pqv-mobile/node';

const read = ({ file, shape }) => {
  const bytes = readFileSync(file);
  return Tensor.float32(shape, new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4));
};

async function int8(dense, { backend, weights, scheme = 'dynamic', images }) {
  if (scheme === 'dynamic') return quantizeDynamic(onnxruntime, dense, { backend, weights });
  const data = (async function* () {
    yield { pixels: read(images) };
  })();
  return quantizeStatic(onnxruntime, dense, { backend, weights, data });
}

const inPrecision = (dense, order) => {
  if (order.dtype === 'fp16') return toFloat16(onnxruntime, dense);
  return order.backend ? int8(dense, order) : dense;
};

for (const order of JSON.parse(readFileSync(0, 'utf8'))) {
  const dense = await loadModel(order.model);
  const graph = await inPrecision(dense, order);
  for (const file of order.files) {
    const pieces = file.endsWith('.ptl')
      ? exportLite(await optimizeForTorch(onnxruntime, graph))
      : exportTorchScript(graph);
    writeFileSync(file, Buffer.concat([...pieces]));
  }
  if (order.onnx) {
    const { logits } = await runOnce(onnxruntime, graph, { pixel_values: read(order.images) });
    writeFileSync(order.onnx, logits.bytes);
  }
}
