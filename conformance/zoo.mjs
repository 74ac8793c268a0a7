/**
 * Loads, makes and runs models for check_zoo.py. A request is a list of
 * { folder, input, shape, output } and for models of our own making also { init: ModelConfig, inputSize, seed };
 * the answer says what each folder's model is.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import {
  describeModel,
  findArchitecture,
  fromTimmConfig,
  initModel,
  loadModel,
  onnxruntime,
  runOnce,
  saveModel,
  Tensor,
  toTimmConfig,
} from 'pqv-mobile/node';

/** The configuration for images of another size. */
function sized(config, inputSize) {
  if (!inputSize) return config;
  const own = toTimmConfig(findArchitecture(config.architecture).preprocessing);
  return {
    ...config,
    preprocessing: fromTimmConfig({ ...own, input_size: inputSize }, config.architecture),
  };
}

const answers = [];
for (const { folder, input, shape, output, init, inputSize, seed } of JSON.parse(await text(process.stdin))) {
  try {
    const files = init ? saveModel(initModel(sized(init, inputSize), seed), folder) : [];
    const graph = await loadModel(folder);
    const bytes = readFileSync(input);
    const pixels = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    const feeds = { pixel_values: new Tensor('float32', shape, pixels) };
    const { logits } = await runOnce(onnxruntime, graph, feeds);
    writeFileSync(output, logits.bytes);
    answers.push({ shape: logits.shape, files, description: await describeModel(graph) });
  } catch (error) {
    answers.push({ error: error.message });
  }
}
process.stdout.write(JSON.stringify(answers));
