import type * as OnnxRuntime from 'onnxruntime-common';
import { ortEngine } from './onnxruntime.ts';
import type { Engine } from './session.ts';

/**
 * ONNX Runtime's WebAssembly build, for browsers; it runs under Node as well. The package is given, so
 * that an application decides how it is bundled and where its `.wasm` files lie:
 * `onnxruntimeWeb(await import('onnxruntime-web'))`.
 *
 * @param threads inside one operator, for all sessions: the package fixes it when the first one is
 *   loaded. More than one takes a page that is cross-origin isolated.
 */
export function onnxruntimeWeb(ort: typeof OnnxRuntime, threads = 1): Engine {
  ort.env.wasm.numThreads = threads;
  return ortEngine(
    ort,
    `onnxruntime-web ${ort.env.versions.web ?? ort.env.versions.common}`,
    'wasm',
    threads,
  );
}
