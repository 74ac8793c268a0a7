import { availableParallelism } from 'node:os';
import { UserError } from '../common/errors.ts';
import { optionalPackage } from '../common/optional-package.node.ts';
import { ortEngine } from './onnxruntime.ts';
import type { Provider } from './provider.ts';
import type { Engine } from './session.ts';

function loadPackage() {
  // Its build for Linux keeps a database below the user's cache folder and sends it to its makers. It reads
  // this variable when it is loaded; who sets the variable decides.
  process.env.ORT_DISABLE_TELEMETRY ??= '1';
  return optionalPackage<typeof import('onnxruntime-node')>('onnxruntime-node', 'running models on Node');
}

const loaded = new Map<Provider, Engine>();

function native(provider: Provider): Engine {
  const known = loaded.get(provider);
  if (known) return known;
  const ort = loadPackage();
  const built = ort.listSupportedBackends().map(({ name }) => name);
  if (!built.includes(provider)) {
    throw new UserError(
      `onnxruntime-node was built with ${built.join(', ')} here, not with ${provider}: take --provider ${built[0]}`,
    );
  }
  const name = `onnxruntime ${ort.env.versions.node ?? ort.env.versions.common}`;
  const engine = ortEngine(ort, name, provider, availableParallelism());
  loaded.set(provider, engine);
  return engine;
}

/**
 * ONNX Runtime through the package onnxruntime-node, which is loaded at the first use. What a provider has no kernels for
 * runs on the CPU.
 * @throws UserError, from every member, when onnxruntime-node is not installed or was built without the provider
 */
export const onnxruntimeOn = (provider: Provider): Engine => ({
  get name() {
    return native(provider).name;
  },
  load: async (model, options) => native(provider).load(model, options),
});

/** ONNX Runtime on the CPU. */
export const onnxruntime: Engine = onnxruntimeOn('cpu');
