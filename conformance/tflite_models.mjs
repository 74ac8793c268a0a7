// Makes models of random weights for check_tflite.py and writes them as .tflite. Standard input: JSON [{"init": ModelConfig} or
// {"model": FOLDER}, each with "folder" to write into]. Beside the files lie some images, channels last (images.bin), and what
// ONNX Runtime makes of each by itself in float32 (logits.bin). Answers [{"shape" of an image, "files": {dtype: file}, "ownInt8":
// how far ONNX Runtime's int8 is from that, "error"?}].
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

/** What rounding does to one image is luck: of random weights, 1.4 to 3.1 % for a LeViT in int8. */
const images = 4;

const norm = (numbers) => Math.hypot(...numbers);
const distance = (found, expected) => norm(found.map((number, i) => number - expected[i])) / norm(expected);

/** Scores of all images, each run by itself. */
async function scoresOf(graph, input, shape, pixels) {
  const rows = [];
  for (const image of pixels) {
    const found = await runOnce(onnxruntime, graph, { [input]: Tensor.float32(shape, image) });
    rows.push(...found[graph.outputs[0].name].floats);
  }
  return Float32Array.from(rows);
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
    const pixels = Array.from({ length: images }, () => Float32Array.from({ length }, () => random.normal()));
    const expected = await scoresOf(graph, input.name, shape, pixels);
    const last = pixels.map((image) => new Uint8Array(channelsLast(image, shape).buffer));
    writeFileSync(join(folder, 'images.bin'), Buffer.concat(last));
    writeFileSync(join(folder, 'logits.bin'), new Uint8Array(expected.buffer));
    const files = {};
    let ownInt8;
    for (const [dtype, made] of Object.entries(precisions)) {
      files[dtype] = join(folder, `${dtype}.tflite`);
      const inPrecision = await made(graph);
      if (dtype === 'int8')
        ownInt8 = distance(await scoresOf(inPrecision, input.name, shape, pixels), expected);
      await exportModelFile(onnxruntime, inPrecision, 'tflite', files[dtype]);
    }
    answers.push({ shape: [1, ...shape.slice(2), shape[1]], files, ownInt8 });
  } catch (error) {
    answers.push({ error: error.message });
  }
}
process.stdout.write(JSON.stringify(answers));
