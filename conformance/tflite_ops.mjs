// Writes every case of an op that has a LiteRT form as a .tflite file for check_tflite.py. Arguments: a folder. Answers
// {"cases": [{"name", "file", "feeds": {input: {shape, numbers}}, "expected": {output: [numbers]}}], "refused": {why: how often}}:
// what is fed, images channels last, and what ONNX Runtime makes of it.
import { join } from 'node:path';
import {
  caseFeeds,
  caseGraph,
  exportModelFile,
  inOpsets,
  onnxruntime,
  opCases,
  Random,
  runOnce,
} from 'pqv-mobile/node';

const [folder] = process.argv.slice(2);
const one = (dim) => (typeof dim === 'string' ? 1 : dim);
const single = (operand) =>
  operand?.low === undefined ? operand : { ...operand, shape: operand.shape.map(one) };

function channelsLast({ shape, dtype, data }) {
  const numbers = [...data].map(Number);
  if (shape.length !== 4 || dtype === 'uint8') return { shape, numbers };
  const [n, channels, h, w] = shape;
  const at = (i) => (Math.floor(i / (h * w * channels)) * channels + (i % channels)) * h * w;
  return {
    shape: [n, h, w, channels],
    numbers: numbers.map((_, i) => numbers[at(i) + (Math.floor(i / channels) % (h * w))]),
  };
}

const cases = [];
const refused = {};
for (const [i, { op, opset, one: given }] of inOpsets(opCases).entries()) {
  const used = { ...given, operands: given.operands.map(single) };
  try {
    const { graph } = caseGraph(used, opset);
    const random = new Random(i);
    const feeds = caseFeeds(used, () => random.uniform());
    if (graph.outputs.some(({ dtype }) => dtype === 'float16')) throw new Error('it gives float16');
    const found = await runOnce(onnxruntime, graph, feeds);
    const file = join(folder, `${i}.tflite`);
    await exportModelFile(onnxruntime, graph, 'tflite', file);
    const numbers = ([name, { data }]) => [name, [...data].map(Number)];
    cases.push({
      name: `${op} ${JSON.stringify(given.args)} in operator set ${opset}`,
      file,
      feeds: Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, channelsLast(tensor)])),
      expected: Object.fromEntries(Object.entries(found).map(numbers)),
    });
  } catch (error) {
    const why = error.message.replace(/.*(has no TFLite lowering).*/s, 'an op without a row');
    refused[why] = (refused[why] ?? 0) + 1;
  }
}
process.stdout.write(JSON.stringify({ cases, refused }));
