// Writes the int8 models that check_processors.mjs runs everywhere: every matrix of the architecture normal
// with deviation 1 / sqrt(fan-in), vectors moved by 0.1 times a normal number, so that every layer counts.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  backends,
  exportOnnx,
  forms,
  initModel,
  numbersOf,
  onnxruntime,
  quantizeDynamic,
  quantizeStatic,
  Random,
  Tensor,
} from 'pqv-mobile/node';

const calibrationImages = 64;

function liveModel(architecture, modelArgs) {
  const graph = initModel({ architecture, modelArgs });
  const random = new Random(1);
  for (const value of [...graph.constants.values()]) {
    if (value.dtype !== 'float32') continue;
    const { shape } = value;
    const matrix = shape.length === 2 || shape.length === 4;
    const fanIn = shape.slice(1).reduce((product, length) => product * length, 1);
    const floats = Float32Array.from(value.tensor.floats, (number) =>
      matrix ? random.normal() / Math.sqrt(fanIn) : number + 0.1 * random.normal(),
    );
    graph.setConstant(value, Tensor.float32(shape, floats));
  }
  return graph;
}

async function* noise(shape) {
  const random = new Random(2);
  const size = shape.reduce((product, length) => product * length, 1);
  for (let image = 0; image < calibrationImages; image += 8) {
    const floats = Float32Array.from({ length: 8 * size }, () => 4 * random.uniform() - 2);
    yield { pixels: Tensor.float32([8, ...shape], floats) };
  }
}

async function write(graph, file, options) {
  const { model, weights } = await exportOnnx(onnxruntime, graph, options);
  if (weights) throw new Error('the model is too large for one file');
  writeFileSync(file, Buffer.concat([...model]));
}

/** What is promised to be right everywhere, and beside it PyTorch's numbers, which are not. */
const kinds = [
  { weights: 'safe', promised: true, schemes: ['dynamic', 'static'], forms },
  { weights: 'torch', promised: false, schemes: ['dynamic'], forms: ['fused'] },
];

/** Backends that ask for the same numbers, together. */
function groups(weights) {
  const found = new Map();
  for (const backend of Object.keys(backends)) {
    const numbers = JSON.stringify(numbersOf({ backend, weights }));
    found.set(numbers, [...(found.get(numbers) ?? []), backend]);
  }
  return [...found.values()];
}

/**
 * One file for each distinct set of numbers, scheme and form, and the FP32 model.
 * @returns {Promise<{ reference: string, files: { file: string, backends: string[], weights: string, scheme: string, form: string, promised: boolean }[] }>}
 */
export async function writeModels(architecture, folder, { modelArgs = {} } = {}) {
  const graph = liveModel(architecture, modelArgs);
  const [, ...shape] = graph.inputs[0].shape;
  const quantizers = {
    dynamic: (choice) => quantizeDynamic(onnxruntime, graph, choice),
    static: (choice) =>
      quantizeStatic(onnxruntime, graph, { ...choice, observer: 'mse', data: noise(shape) }),
  };
  const reference = join(folder, 'fp32.onnx');
  await write(graph, reference);
  const files = [];
  for (const { weights, promised, ...kind } of kinds) {
    for (const names of groups(weights)) {
      for (const scheme of kind.schemes) {
        const quantized = await quantizers[scheme]({ backend: names[0], weights });
        for (const form of kind.forms) {
          const file = join(folder, `${weights}-${names[0]}-${scheme}-${form}.onnx`);
          await write(quantized, file, { form });
          files.push({ file, backends: names, weights, scheme, form, promised });
        }
      }
    }
  }
  return { reference, files };
}
