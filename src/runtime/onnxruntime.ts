import type * as OnnxRuntime from 'onnxruntime-common';
import { UserError } from '../common/errors.ts';
import { Graph } from '../graph/graph.ts';
import { type DataType, dataTypes, Tensor, type TensorData } from '../graph/tensor.ts';
import { encodeWithWeights, weightBytes, writeOnnx } from '../onnx/write.ts';
import { discard } from './discard.ts';
import type { Engine, InputSignature, Session, SessionOptions, Tensors } from './session.ts';

/** The API that onnxruntime-node and onnxruntime-web have in common. */
export type Ort = Pick<typeof OnnxRuntime, 'InferenceSession' | 'Tensor'>;

function toOrt(ort: Ort, name: string, tensor: Tensor): OnnxRuntime.Tensor {
  const { dtype, shape } = tensor;
  if (!(dtype === 'string' || dtype in dataTypes))
    throw new UserError(`${name}: no engine type for ${dtype}`);
  if (dtype === 'float16') return halfTensor(ort, tensor);
  return new ort.Tensor(dtype as 'float32', tensor.data as Float32Array, shape as number[]);
}

/**
 * A float16 tensor of bits. Where JavaScript has a `Float16Array` (Node 24 and later) the constructor would
 * turn them into one, which the native engine can't read.
 */
function halfTensor(ort: Ort, { data, shape }: Tensor): OnnxRuntime.Tensor {
  const bits = new ort.Tensor('uint16', data as Uint16Array, shape as number[]);
  return Object.assign(bits as OnnxRuntime.Tensor, { type: 'float16' as const });
}

function fromOrt(tensor: OnnxRuntime.Tensor): Tensor {
  return new Tensor(tensor.type as DataType, tensor.dims as number[], dataOf(tensor));
}

/** The numbers; of float16 the bits, also where JavaScript has a `Float16Array` (Node 24 and later). */
function dataOf({ type, data }: OnnxRuntime.Tensor): TensorData {
  if (type !== 'float16' || data instanceof Uint16Array) return data as unknown as TensorData;
  const { buffer, byteOffset, length } = data as unknown as Uint16Array;
  return new Uint16Array(buffer, byteOffset, length);
}

/** The binding for Node fills a tensor in place and returns a copy of it besides. A view of an engine's memory is none. */
function discardCopy(result: OnnxRuntime.Tensor, filled: Tensor): void {
  const { buffer, byteLength } = result.data as Float32Array<ArrayBuffer>;
  const copy = buffer instanceof ArrayBuffer && buffer.byteLength === byteLength;
  if (copy && buffer !== (filled.data as Float32Array).buffer) discard(buffer);
}

class OrtSession implements Session {
  readonly #ort: Ort;
  readonly #session: OnnxRuntime.InferenceSession;

  constructor(ort: Ort, session: OnnxRuntime.InferenceSession) {
    this.#ort = ort;
    this.#session = session;
  }

  get inputs() {
    return this.#session.inputNames;
  }

  get inputSignatures() {
    return Object.fromEntries(
      this.#session.inputMetadata.flatMap((input): [string, InputSignature][] =>
        input.isTensor ? [[input.name, { dtype: input.type as DataType, shape: input.shape }]] : [],
      ),
    );
  }

  get outputs() {
    return this.#session.outputNames;
  }

  async run(feeds: Tensors, fetches?: readonly string[] | Record<string, Tensor | null>): Promise<Tensors> {
    const given = Object.fromEntries(
      Object.entries(feeds).map(([name, tensor]) => [name, toOrt(this.#ort, name, tensor)]),
    );
    const preallocated: Tensors = {};
    let wanted: string[] | Record<string, OnnxRuntime.Tensor | null> | undefined;
    if (Array.isArray(fetches)) wanted = [...fetches];
    else if (fetches) {
      wanted = {};
      for (const [name, tensor] of Object.entries(fetches as Record<string, Tensor | null>)) {
        if (tensor) preallocated[name] = tensor;
        wanted[name] = tensor ? toOrt(this.#ort, name, tensor) : null;
      }
    }
    const results = wanted ? await this.#session.run(given, wanted) : await this.#session.run(given);
    const tensors: Tensors = {};
    for (const [name, tensor] of Object.entries(results)) {
      const given = preallocated[name];
      tensors[name] = given ?? fromOrt(tensor as OnnxRuntime.Tensor);
      if (given) discardCopy(tensor as OnnxRuntime.Tensor, given);
    }
    return tensors;
  }

  async dispose(): Promise<void> {
    await this.#session.release();
  }
}

function sessionOptions(
  provider: string,
  threads: number,
  options: SessionOptions,
): OnnxRuntime.InferenceSession.SessionOptions {
  return {
    executionProviders: [provider],
    intraOpNumThreads: options.threads ?? threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: options.optimization ?? 'all',
    enableCpuMemArena: options.memoryArena ?? true,
    logSeverityLevel: 3,
    ...(options.saveTo ? { optimizedModelFilePath: options.saveTo } : {}),
    ...(options.config ? { extra: nested(options.config) } : {}),
  };
}

/** `{'session.x': '1'}` as the engine's binding wants it: `{session: {x: '1'}}`. */
function nested(config: Record<string, string>): Record<string, unknown> {
  const root: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(config)) {
    const parts = key.split('.');
    let at = root;
    for (const part of parts.slice(0, -1)) {
      at[part] ??= {};
      at = at[part] as Record<string, unknown>;
    }
    at[parts[parts.length - 1]!] = value;
  }
  return root;
}

/** What the CPU, native or as WebAssembly, does not load is the file's fault, as far as can be told: models come from anywhere. */
function refusal(
  engine: string,
  provider: string,
  model: Graph | Uint8Array | string,
  error: unknown,
): UserError {
  const what = typeof model === 'string' ? model : model instanceof Graph ? 'the model' : 'the file';
  const why = (error as Error).message.trim();
  const there = provider === 'cpu' || provider === 'wasm' ? '' : `; without the provider ${provider} it may`;
  return new UserError(`${engine} does not load ${what}: ${why}${there}`);
}

/** Larger weights are handed over where they lie: in the model's own bytes they would be copied three times. */
const inModelBelow = 1 << 24;

/**
 * An engine over one of ONNX Runtime's JavaScript packages.
 * @param provider what computes: `cpu`, `wasm`, `webgpu`
 * @param threads inside one operator, where a session's options don't say
 */
export function ortEngine(ort: Ort, name: string, provider: string, threads: number): Engine {
  const engineName = provider === 'cpu' || provider === 'wasm' ? name : `${name}, ${provider}`;
  return {
    name: engineName,
    async load(model, options = {}) {
      const settings = sessionOptions(provider, threads, options);
      const open = async (source: string | Uint8Array) => {
        try {
          return new OrtSession(
            ort,
            typeof source === 'string'
              ? await ort.InferenceSession.create(source, settings)
              : await ort.InferenceSession.create(source, settings),
          );
        } catch (error) {
          throw refusal(engineName, provider, model, error);
        }
      };
      if (!(model instanceof Graph)) return open(model);
      if (weightBytes(model) <= inModelBelow) return open(writeOnnx(model));
      const { model: head, weights } = encodeWithWeights(model);
      settings.externalData = weights;
      return open(head);
    },
  };
}
