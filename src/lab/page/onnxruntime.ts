import type * as OnnxRuntime from 'onnxruntime-web';
import type { OpenRuntime } from './runtime.ts';

/** ONNX Runtime Web. Its number of threads is one a page, or one a worker. */
export const openOnnxRuntime: OpenRuntime = async ({ model, variant, accelerator, threads, files }) => {
  const webgpu = accelerator === 'webgpu';
  const ort: typeof OnnxRuntime = await import(
    `${files}${webgpu ? 'ort.webgpu.min.mjs' : 'ort.wasm.min.mjs'}`
  );
  const loader = `ort-wasm-simd-threaded${webgpu ? '.asyncify' : ''}`;
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = { mjs: `${files}${loader}.mjs`, wasm: `${files}${loader}.wasm` };
  const session = await ort.InferenceSession.create(model, { executionProviders: [accelerator] });
  const { name, dtype, shape } = variant.input;
  return {
    version: ort.env.versions.web ?? ort.env.versions.common,
    threads: ort.env.wasm.numThreads,
    delegated: undefined,
    async run(input) {
      const tensor =
        input instanceof Uint8Array
          ? new ort.Tensor('uint8', input, shape)
          : new ort.Tensor('float32', input, [...shape]);
      if (dtype !== tensor.type) throw new Error(`the input is ${tensor.type}, the file takes ${dtype}`);
      const found = await session.run({ [name]: tensor });
      const output = found[variant.output];
      if (!output) throw new Error(`the file has no output ${variant.output}`);
      const values = await output.getData();
      if (!(values instanceof Float32Array)) throw new Error(`the output is ${output.type}`);
      return values.slice();
    },
  };
};
