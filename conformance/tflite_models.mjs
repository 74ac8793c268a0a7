// Makes models of random weights for check_tflite.py and writes them as .tflite. Standard input: JSON [{"init": ModelConfig} or
// {"model": FOLDER}, each with "folder" to write into]. Beside the files lie one image, channels last (image.bin), and what
// ONNX Runtime makes of it in float32 (logits.bin). Answers [{"shape", "files": {dtype: file}, "ownInt8": how far ONNX
// Runtime's int8 is from that, "error"?}].
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  exportModelFile,
  initModel,
  loadModel,
  onnxruntime,
  quantizeDynamic,
  Random,
  runOnce,
  Tensor,
  toFloat16,
} from 'pqv-mobile/node';

const precisions = {
  fp32: (graph) => graph,
  int8: (graph) => quantizeDynamic(onnxruntime, graph, {}),
  fp16: (graph) => toFloat16(onnxruntime, graph),
};

const channelsLast = (pixels, [, channels, height, width]) =>
  pixels.map((_, i) => pixels[(i % channels) * height * width + Math.floor(i / channels)]);

const norm = (numbers) => Math.hypot(...numbers);
function distance(found, expected) {
  const [[a], [b]] = [Object.values(found), Object.values(expected)].map((all) =>
    all.map(({ floats }) => floats),
  );
  return norm(a.map((number, i) => number - b[i])) / norm(b);
}

const answers = [];
for (const { init, model, folder } of JSON.parse(readFileSync(0, 'utf8'))) {
  try {
    mkdirSync(folder, { recursive: true });
    const graph = model ? await loadModel(model) : initModel(init, 3);
    const [input] = graph.inputs.filter((value) => !value.isConstant);
    const shape = [1, ...input.shape.slice(1)];
    const random = new Random(7);
    const length = shape.reduce((a, b) => a * b);
    const pixels = Float32Array.from({ length }, () => random.normal());
    const feeds = { [input.name]: Tensor.float32(shape, pixels) };
    const outputs = await runOnce(onnxruntime, graph, feeds);
    writeFileSync(join(folder, 'image.bin'), channelsLast(pixels, shape));
    writeFileSync(join(folder, 'logits.bin'), outputs[graph.outputs[0].name].bytes);
    const files = {};
    let ownInt8;
    for (const [dtype, made] of Object.entries(precisions)) {
      files[dtype] = join(folder, `${dtype}.tflite`);
      const inPrecision = await made(graph);
      if (dtype === 'int8') ownInt8 = distance(await runOnce(onnxruntime, inPrecision, feeds), outputs);
      await exportModelFile(onnxruntime, inPrecision, 'tflite', files[dtype]);
    }
    answers.push({ shape: [1, ...shape.slice(2), shape[1]], files, ownInt8 });
  } catch (error) {
    answers.push({ error: error.message });
  }
}
process.stdout.write(JSON.stringify(answers));
