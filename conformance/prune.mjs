/**
 * Prunes a model folder for check_prune.py. The request:
 * { folder, images, shape, labels, batchSize, sensitivities?: FILE, cases: [{ options, output?, logits? }] }.
 * The answer holds for each case what was kept; the mean squared gradients of all scored parameters go to
 * the file as safetensors. Cases of one importance share their scores, which the first one's answer has.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import {
  findGroups,
  loadModel,
  meanSquaredGradients,
  onnxruntime,
  prune,
  runOnce,
  saveModel,
  saveSafetensors,
  scoredParameters,
  Tensor,
} from 'pqv-mobile/node';

const { folder, images, shape, labels, batchSize, sensitivities, cases } = JSON.parse(
  await text(process.stdin),
);
const bytes = readFileSync(images);
const pixels = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
const imageSize = pixels.length / shape[0];

async function* batches() {
  for (let start = 0; start < labels.length; start += batchSize) {
    const part = labels.slice(start, start + batchSize);
    const data = pixels.slice(start * imageSize, (start + part.length) * imageSize);
    yield {
      pixels: new Tensor('float32', [part.length, ...shape.slice(1)], data),
      labels: Tensor.int64(part),
    };
  }
}

const graph = await loadModel(folder);
if (sensitivities) {
  const wanted = scoredParameters(findGroups(graph).groups);
  const squares = await meanSquaredGradients(onnxruntime, graph, wanted, batches());
  saveSafetensors(sensitivities, new Map([...squares].map(([{ name }, tensor]) => [name, tensor])));
}

const known = new Map();
const answers = [];
for (const { options, output, logits } of cases) {
  const criterion = `${options.importance} ${options.headDims}`;
  const scores = known.get(criterion);
  const result = await prune(onnxruntime, graph, { ...options, scores, data: batches() });
  known.set(criterion, result.scores);
  if (output) {
    saveModel(result.graph, output);
    const first = new Tensor('float32', [1, ...shape.slice(1)], pixels.slice(0, imageSize));
    const outputs = await runOnce(onnxruntime, result.graph, { pixel_values: first });
    writeFileSync(logits, outputs.logits.bytes);
  }
  answers.push({ kept: result.kept, scores: scores ? undefined : result.scores });
}
process.stdout.write(JSON.stringify(answers));
