/**
 * Runs models on the inputs of a job (JSON on stdin) and says their outputs, a line of JSON each. It also runs under
 * emulated processors, whose Node is another and whose onnxruntime-node is the one in NODE_PATH, so that it imports nothing else.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type * as OnnxRuntime from 'onnxruntime-node';

/** A file, and inputs in base64. */
export interface EmulatedJob {
  readonly path: string;
  readonly name: string;
  readonly dtype: 'float32' | 'uint8';
  readonly shape: readonly number[];
  readonly output: string;
  readonly inputs: readonly string[];
}

/** Outputs in base64, an input each; or why there are none. */
export type EmulatedAnswer =
  | { readonly version: string; readonly outputs: readonly string[] }
  | { readonly failed: string };

process.env.ORT_DISABLE_TELEMETRY ??= '1';
const { NODE_PATH } = process.env;
const require = createRequire(NODE_PATH ? `${NODE_PATH}/.` : import.meta.url);
const ort: typeof OnnxRuntime = require('onnxruntime-node');

function tensor({ dtype, shape }: EmulatedJob, text: string): OnnxRuntime.Tensor {
  const bytes = Uint8Array.from(Buffer.from(text, 'base64'));
  return dtype === 'uint8'
    ? new ort.Tensor('uint8', bytes, shape)
    : new ort.Tensor('float32', new Float32Array(bytes.buffer), shape);
}

async function answer(job: EmulatedJob): Promise<EmulatedAnswer> {
  try {
    const options = { intraOpNumThreads: 1, logSeverityLevel: 3 as const };
    const session = await ort.InferenceSession.create(job.path, options);
    const outputs: string[] = [];
    for (const input of job.inputs) {
      const found = await session.run({ [job.name]: tensor(job, input) });
      const values = Float32Array.from(found[job.output]!.data as Float32Array);
      outputs.push(Buffer.from(values.buffer).toString('base64'));
    }
    await session.release();
    return { version: ort.env.versions.node ?? ort.env.versions.common, outputs };
  } catch (error) {
    return {
      failed: String((error as Error).message)
        .split('\n')[0]!
        .slice(0, 300),
    };
  }
}

for (const job of JSON.parse(readFileSync(0, 'utf8')) as EmulatedJob[]) {
  process.stdout.write(`${JSON.stringify(await answer(job))}\n`);
}
