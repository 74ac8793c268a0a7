/** What is used of @litertjs/core 2.5, so that the example is type-checked without installing its 37 MB of WebAssembly. */
declare module '@litertjs/core' {
  export class Tensor {
    constructor(data: Float32Array | Int32Array | Uint8Array, shape?: readonly number[]);
    data(): Promise<Float32Array | Int32Array | Uint8Array>;
    delete(): void;
  }
  export interface CompiledModel {
    run(input: Tensor | Tensor[]): Promise<Tensor[]>;
    readonly isFullyAccelerated: boolean;
  }
  export function loadLiteRt(path: string, options?: { threads?: boolean }): Promise<unknown>;
  export function loadAndCompile(
    model: string | URL | Uint8Array,
    options?: { accelerator?: 'webgpu' | 'wasm' },
  ): Promise<CompiledModel>;
}
