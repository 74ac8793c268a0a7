import { availableParallelism } from 'node:os';
import * as ort from 'onnxruntime-node';
import { UserError } from '../errors.ts';
import { Graph } from '../graph/graph.ts';
import { type DataType, dataTypes, Tensor, type TensorData } from '../graph/tensor.ts';
import { encodeOnnx, externalAbove, weightBytes, writeOnnx } from '../onnx/write.ts';
import type { Engine, InputSignature, Session, SessionOptions, Tensors } from './session.ts';

function toOrt(name: string, tensor: Tensor): ort.Tensor {
  const { dtype, shape } = tensor;
  if (!(dtype === 'string' || dtype in dataTypes))
    throw new UserError(`${name}: no engine type for ${dtype}`);
  return new ort.Tensor(dtype as 'float32', tensor.data as Float32Array, shape as number[]);
}

function fromOrt(tensor: ort.Tensor): Tensor {
  return new Tensor(tensor.type as DataType, tensor.dims as number[], tensor.data as unknown as TensorData);
}

class OrtSession implements Session {
  readonly #session: ort.InferenceSession;

  constructor(session: ort.InferenceSession) {
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
      Object.entries(feeds).map(([name, tensor]) => [name, toOrt(name, tensor)]),
    );
    const preallocated: Tensors = {};
    let wanted: string[] | Record<string, ort.Tensor | null> | undefined;
    if (Array.isArray(fetches)) wanted = [...fetches];
    else if (fetches) {
      wanted = {};
      for (const [name, tensor] of Object.entries(fetches as Record<string, Tensor | null>)) {
        if (tensor) preallocated[name] = tensor;
        wanted[name] = tensor ? toOrt(name, tensor) : null;
      }
    }
    const results = wanted ? await this.#session.run(given, wanted) : await this.#session.run(given);
    const tensors: Tensors = {};
    for (const [name, tensor] of Object.entries(results)) {
      tensors[name] = preallocated[name] ?? fromOrt(tensor as ort.Tensor);
    }
    return tensors;
  }

  async dispose(): Promise<void> {
    await this.#session.release();
  }
}

function sessionOptions(options: SessionOptions): ort.InferenceSession.SessionOptions {
  return {
    executionProviders: ['cpu'],
    intraOpNumThreads: options.threads ?? availableParallelism(),
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: options.optimization ?? 'all',
    enableCpuMemArena: options.memoryArena ?? true,
    logSeverityLevel: 3,
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

/** ONNX Runtime on the CPU, through onnxruntime-node. */
export const onnxruntime: Engine = {
  name: `onnxruntime ${ort.env.versions.node ?? ort.env.versions.common}`,

  async load(model, options = {}) {
    const settings = sessionOptions(options);
    if (typeof model === 'string') return new OrtSession(await ort.InferenceSession.create(model, settings));
    if (model instanceof Graph && weightBytes(model) > externalAbove) {
      const { model: head, weights } = encodeOnnx(model, 'weights');
      settings.externalData = [{ path: 'weights', data: Buffer.concat(weights!) }];
      return new OrtSession(await ort.InferenceSession.create(Buffer.concat(head), settings));
    }
    const bytes = model instanceof Graph ? writeOnnx(model) : model;
    return new OrtSession(await ort.InferenceSession.create(bytes, settings));
  },
};
