import type { Graph, Shape } from '../graph/graph.ts';
import type { DataType, Tensor } from '../graph/tensor.ts';

export type Tensors = Record<string, Tensor>;

export interface SessionOptions {
  /** Threads inside one operator; default: all cores. */
  threads?: number;
  /** How much the engine may rewrite the graph when it loads it; default everything. */
  optimization?: 'disabled' | 'basic' | 'extended' | 'all';
  /** Keep freed memory for the next run (default), or give it back: slower, smaller peak. */
  memoryArena?: boolean;
  /** Write the model as the engine rewrote it to this file. */
  saveTo?: string;
  /** Engine configuration entries (`session.*`, `optimization.*`), passed through. */
  config?: Record<string, string>;
}

/** What a loaded model takes for one input; a symbolic axis bears its name. */
export interface InputSignature {
  readonly dtype: DataType;
  readonly shape: Shape;
}

/** A loaded model. */
export interface Session {
  readonly inputs: readonly string[];
  /** By input name. */
  readonly inputSignatures: Readonly<Record<string, InputSignature>>;
  readonly outputs: readonly string[];
  /**
   * Computes outputs from inputs.
   * @param fetches outputs wanted (default: all); a tensor given for one is filled in place
   */
  run(feeds: Tensors, fetches?: readonly string[] | Record<string, Tensor | null>): Promise<Tensors>;
  dispose(): Promise<void>;
}

/** Something that runs graphs. The core is given one; it never imports one. */
export interface Engine {
  /** Name and version, as reports show it: `onnxruntime 1.30.0`. */
  readonly name: string;
  /** @param model a graph, the bytes of an ONNX or ORT file, or a file's path */
  load(model: Graph | Uint8Array | string, options?: SessionOptions): Promise<Session>;
}

/** Laying weights out for many runs takes longer than one run. */
export const withoutPacking: SessionOptions = { config: { 'session.disable_prepacking': '1' } };

/** Runs a model once. */
export async function runOnce(
  engine: Engine,
  model: Graph | Uint8Array | string,
  feeds: Tensors,
  options?: SessionOptions,
): Promise<Tensors> {
  const session = await engine.load(model, options);
  try {
    return await session.run(feeds);
  } finally {
    await session.dispose();
  }
}
