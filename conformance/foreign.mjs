// Reads files that other tools quantized, and writes them as they were read and in every form that they have.
// Request on stdin: { folder, files: [{ path, name }], formats }; answer: [{ name, error?, inspection, loaded, written: { NAME: FILE or error } }].
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exportModelFile, inspect, loadModel, onnxruntime, writeOnnx } from 'pqv-mobile/node';

const targets = {
  onnx: ['onnx', '.onnx', {}],
  fused: ['onnx', '.onnx', { form: 'fused' }],
  integer: ['onnx', '.onnx', { form: 'integer' }],
  qdq: ['onnx', '.onnx', { form: 'qdq' }],
  ort: ['ort', '.ort', {}],
  torchscript: ['torchscript', '.pt', {}],
  ptl: ['ptl', '.ptl', {}],
  tflite: ['tflite', '.tflite', {}],
};

const { folder, files, formats } = JSON.parse(readFileSync(0, 'utf8'));
const answers = [];
for (const { path, name } of files) {
  const answer = { name, written: {} };
  answers.push(answer);
  try {
    const graph = await loadModel(path);
    const { parameters, macs, uncounted, precision, blocks, quantized } = await inspect(graph);
    answer.inspection = { parameters, macs, uncounted, precision, blocks: blocks.length, quantized };
    answer.loaded = join(folder, `${name}.loaded.onnx`);
    writeFileSync(answer.loaded, writeOnnx(graph));
    for (const target of formats) {
      const [format, extension, options] = targets[target];
      const file = join(folder, `${name}.${target}${extension}`);
      try {
        await exportModelFile(onnxruntime, graph, format, file, options);
        answer.written[target] = { file };
      } catch (error) {
        answer.written[target] = { error: error.message };
      }
    }
  } catch (error) {
    answer.error = error.name === 'UserError' ? error.message : `${error.stack}`;
  }
}
process.stdout.write(JSON.stringify(answers));
