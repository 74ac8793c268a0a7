import type { OpenRuntime } from './runtime.ts';

/** What is used of @litertjs/core, so that it is type-checked where that is not installed. */
interface LiteRt {
  loadLiteRt(
    path: string,
    options?: { threads?: boolean },
  ): Promise<{ liteRtWasm: { getThreadCount(): number } }>;
  loadAndCompile(
    model: Uint8Array,
    options: { accelerator: 'wasm' | 'webgpu' },
  ): Promise<{ run(input: LiteRtTensor): Promise<LiteRtTensor[]>; isFullyAccelerated: boolean }>;
  Tensor: new (data: Float32Array | Uint8Array, shape: readonly number[]) => LiteRtTensor;
}

interface LiteRtTensor {
  data(): Promise<Float32Array | Int32Array | Uint8Array>;
  delete(): void;
}

/** LiteRT.js. Its threads are as many as the device has; without `threads` it takes a build for one. */
export const openLiteRt: OpenRuntime = async ({ model, variant, accelerator, threads, files }) => {
  const litert: LiteRt = await import(`${files}index.js`);
  const wasm = `${files}wasm/`;
  // A worker's script would look for them beside itself.
  Object.assign(self, {
    Module: {
      locateFile: (name: string) => wasm + name,
      ...(threads > 1 ? { mainScriptUrlOrBlob: `${wasm}litert_wasm_threaded_internal.js` } : {}),
    },
  });
  const { liteRtWasm } = await litert.loadLiteRt(wasm, { threads: threads > 1 });
  const compiled = await litert.loadAndCompile(model, { accelerator });
  return {
    version: await (await fetch(`${files}version`)).text(),
    threads: threads > 1 ? liteRtWasm.getThreadCount() : 1,
    delegated: compiled.isFullyAccelerated,
    async run(values) {
      const input = new litert.Tensor(values, variant.input.shape);
      const outputs = await compiled.run(input);
      const found = await outputs[0]!.data();
      input.delete();
      for (const output of outputs) output.delete();
      if (!(found instanceof Float32Array)) throw new Error('the output is not float32');
      return found;
    },
  };
};
