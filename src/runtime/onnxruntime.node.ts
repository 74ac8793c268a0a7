import { availableParallelism } from 'node:os';
import { optionalPackage } from '../common/optional-package.node.ts';
import { ortEngine } from './onnxruntime.ts';
import type { Engine } from './session.ts';

let loaded: Engine | undefined;

function native(): Engine {
  if (loaded) return loaded;
  // Its build for Linux keeps a database below the user's cache folder and sends it to its makers. It reads
  // this variable when it is loaded; who sets the variable decides.
  process.env.ORT_DISABLE_TELEMETRY ??= '1';
  const ort = optionalPackage<typeof import('onnxruntime-node')>(
    'onnxruntime-node',
    'running models on Node',
  );
  const name = `onnxruntime ${ort.env.versions.node ?? ort.env.versions.common}`;
  loaded = ortEngine(ort, name, 'cpu', availableParallelism());
  return loaded;
}

/**
 * ONNX Runtime on the CPU, through the package onnxruntime-node. It is loaded at the first use.
 * @throws UserError, from every member, when onnxruntime-node is not installed
 */
export const onnxruntime: Engine = {
  get name() {
    return native().name;
  },
  load: async (model, options) => native().load(model, options),
};
