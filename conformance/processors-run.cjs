// node processors-run.cjs ENGINE FILE...: runs each model on the same seeded image and prints its outputs, a
// line of JSON each. ENGINE is onnxruntime-node, onnxruntime-web, or onnxruntime-web+relaxed. Plain CommonJS:
// it also runs under emulated processors, whose onnxruntime is the one in NODE_PATH.
const { createRequire } = require('node:module');

const load = process.env.NODE_PATH ? createRequire(`${process.env.NODE_PATH}/.`) : require;
const [engine, ...files] = process.argv.slice(2);
const [name, flavour] = engine.split('+');
process.env.ORT_DISABLE_TELEMETRY ??= '1';
const ort = load(name);
if (name === 'onnxruntime-web') {
  ort.env.wasm.numThreads = 1;
  if (flavour) ort.env.wasm.simd = flavour;
}

/** Evenly spread in [-2, 2), the same on every machine. */
function image(length) {
  let state = 1;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (4 * state) / 2 ** 32 - 2;
  });
}

async function main() {
  for (const file of files) {
    const session = await ort.InferenceSession.create(file, { intraOpNumThreads: 1, logSeverityLevel: 3 });
    const [input] = session.inputMetadata;
    const dims = input.shape.map((dim) => (typeof dim === 'number' ? dim : 1));
    const pixels = image(dims.reduce((product, dim) => product * dim, 1));
    const results = await session.run({ [input.name]: new ort.Tensor('float32', pixels, dims) });
    const [output] = session.outputNames;
    console.log(JSON.stringify({ file, outputs: [...results[output].data] }));
    await session.release();
  }
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
