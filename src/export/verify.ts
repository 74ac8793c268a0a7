import { UserError } from '../common/errors.ts';
import type { Graph, Value } from '../graph/graph.ts';
import type { Tensor } from '../graph/tensor.ts';
import { castTensors } from '../quantize/cast.ts';
import { type ModelPrecision, quantization } from '../quantize/record.ts';
import { noiseFor } from '../runtime/noise.ts';
import { runInParts } from '../runtime/run-in-parts.ts';
import { type Engine, runOnce, type Tensors, withoutPacking } from '../runtime/session.ts';

export interface Verification {
  /** Largest distance of an output from the source's, over the source's norm (Euclidean). */
  readonly relative: number;
  /** How much was allowed. */
  readonly tolerance: number;
}

/**
 * How far an artifact may be from the graph it was written from. Reordered float sums differ in the
 * last bits; where activations are rounded to 8 or 11 bits such a bit can tip a rounding.
 */
const tolerances = { fp32: 1e-4, fp16: 5e-3, int8: 3e-2, int4: 3e-2 };

/**
 * The same where activations are rounded to 4 bits: what is off by e before a rounding with steps of s is off by sqrt(e s) behind it, so
 * that last bits grow to what rounding itself changes within some layers.
 */
const inFourBits = 0.4;

/** Images that an artifact is tried on: more than one, so that a batch axis that got lost is noticed. */
const batch = 2;

/**
 * Loads a written artifact, runs it, and compares every output with that of the graph it came from.
 * @param artifact a file's path, or its bytes
 * @throws Error when it does not load, does not run, or computes something else
 */
export function verifyArtifact(
  engine: Engine,
  source: Graph,
  artifact: string | Uint8Array,
): Promise<Verification> {
  // Integer kernels compute on the weights as they are laid out at loading; for floats that only costs time.
  const options = isInteger(source) ? {} : withoutPacking;
  const run = async (feeds: Tensors) => {
    try {
      return await runOnce(engine, artifact, feeds, options);
    } catch (error) {
      throw new Error(`the written model does not run: ${(error as Error).message}`);
    }
  };
  return verifyRun(engine, source, run, tolerances);
}

/**
 * Compares what another program makes of sample inputs with what the graph gives on the engine.
 * @param allowed tolerance by the graph's precision
 * @throws Error when it computes something else; what `run` throws
 */
export async function verifyRun(
  engine: Engine,
  source: Graph,
  run: (feeds: Tensors) => Tensors | Promise<Tensors>,
  allowed: Readonly<Record<ModelPrecision, number>>,
): Promise<Verification> {
  const { dtype = 'fp32', activations } = quantization(source) ?? {};
  const tolerance = activations === 'int4' ? inFourBits : allowed[dtype];
  const feeds: Tensors = {};
  for (const input of source.inputs) {
    if (!input.isConstant) feeds[input.name] = await sampleFor(engine, input);
  }
  // Integer sums may saturate in one kernel and not in another, so they are run as the artifact is.
  const expected = isInteger(source)
    ? await runOnce(engine, source, feeds)
    : await runInParts(engine, source, feeds);
  const found = await run(feeds);
  let relative = 0;
  for (const [name, tensor] of Object.entries(expected)) {
    const twin = found[name];
    if (`${twin?.dtype}[${twin?.shape}]` !== `${tensor.dtype}[${tensor.shape}]`) {
      throw new Error(
        `the written model's output ${name} is ${twin ? `${twin.dtype} [${twin.shape}]` : 'missing'}, expected ${tensor.dtype} [${tensor.shape}]`,
      );
    }
    const [a, b] = [await inType(engine, twin!, 'float32'), await inType(engine, tensor, 'float32')];
    relative = Math.max(relative, distance(a.floats, b.floats));
  }
  if (!(relative <= tolerance)) {
    throw new Error(
      `the written model computes something else: relative distance ${relative.toPrecision(3)}`,
    );
  }
  return { relative, tolerance };
}

const isInteger = (graph: Graph): boolean => quantization(graph)?.dtype === 'int8';

async function sampleFor(engine: Engine, input: Value): Promise<Tensor> {
  const noise = noiseFor(input, batch, 20);
  if (!noise) {
    throw new UserError(
      `input ${input.name} [${input.shape ?? '?'}] of type ${input.dtype} can't be tried out`,
    );
  }
  return input.dtype === 'float16' ? inType(engine, noise, 'float16') : noise;
}

async function inType(engine: Engine, tensor: Tensor, dtype: 'float32' | 'float16'): Promise<Tensor> {
  return tensor.dtype === dtype ? tensor : (await castTensors(engine, [tensor], dtype))[0]!;
}

/** Euclidean distance over the norm of `expected`. */
function distance(found: Float32Array, expected: Float32Array): number {
  let difference = 0;
  let norm = 0;
  expected.forEach((value, i) => {
    difference += (found[i]! - value) ** 2;
    norm += value ** 2;
  });
  return difference === 0 ? 0 : Math.sqrt(difference / norm);
}
