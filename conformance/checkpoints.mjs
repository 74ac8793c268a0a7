/**
 * Loads and runs models for check_checkpoints.py. A request is a list of { model, arch, inputSize, input, shape,
 * output }; the answer gives the shape of each output, what was said on the way, and what the model says of itself.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { loadModel, modelInfo, onnxruntime, runOnce, silent, Tensor } from 'pqv-mobile/node';

const answers = [];
for (const { model, arch, inputSize, input, shape, output } of JSON.parse(await text(process.stdin))) {
  const notes = [];
  try {
    const progress = { ...silent, note: (line) => notes.push(line) };
    const graph = await loadModel(model, { arch, inputSize: inputSize?.join('x'), progress });
    const bytes = readFileSync(input);
    const pixels = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    const { logits } = await runOnce(onnxruntime, graph, {
      pixel_values: new Tensor('float32', shape, pixels),
    });
    writeFileSync(output, logits.bytes);
    answers.push({ shape: logits.shape, notes, info: modelInfo(graph) });
  } catch (error) {
    answers.push({ error: error.message, notes });
  }
}
process.stdout.write(JSON.stringify(answers));
