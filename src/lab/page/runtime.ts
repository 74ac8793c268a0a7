import type { ShownVariant } from '../protocol.ts';

/** What a runtime is given to open. */
export interface Opening {
  readonly model: Uint8Array<ArrayBuffer>;
  readonly variant: ShownVariant;
  readonly accelerator: 'wasm' | 'webgpu';
  readonly threads: number;
  /** Where the runtime's files are, with a slash at the end. */
  readonly files: string;
}

/** A model in a runtime. */
export interface Opened {
  /** Of the runtime. */
  readonly version: string;
  readonly threads: number;
  /** The whole graph runs on the accelerator; undefined where the runtime does not tell. */
  readonly delegated: boolean | undefined;
  /** The outputs for one input, which they are the caller's. */
  run(input: Float32Array | Uint8Array): Promise<Float32Array>;
}

export type OpenRuntime = (opening: Opening) => Promise<Opened>;
