import { UserError } from '../common/errors.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Format } from './format.ts';
import { onnxFormat } from './onnx.node.ts';
import { ortFormat } from './ort.node.ts';
import { tfliteFormat } from './tflite/format.node.ts';
import { liteFormat, torchScriptFormat } from './torchscript/formats.node.ts';

/**
 * The formats there are, in the order of help. Of those that a runtime loads, the first is what a model
 * folder becomes to be timed there.
 */
export const formats: readonly Format[] = [
  onnxFormat,
  ortFormat,
  liteFormat,
  tfliteFormat,
  torchScriptFormat,
];

/** The runtimes that load them, each once. */
export const runtimes: readonly Runtime[] = [
  ...new Set(formats.flatMap(({ runtime }) => (runtime ? [runtime] : []))),
];

/** @throws UserError when there is no such format, with those that there are */
export function formatNamed(name: string): Format {
  const found = formats.find((format) => format.name === name);
  if (found) return found;
  throw new UserError(`no format "${name}"; there are ${formats.map((format) => format.name).join(', ')}`);
}

/** @throws UserError when there is no such runtime, with those that there are */
export function runtimeNamed(name: string): Runtime {
  const found = runtimes.find((runtime) => runtime.name === name);
  if (found) return found;
  throw new UserError(
    `no runtime "${name}"; there are ${runtimes.map((runtime) => runtime.name).join(', ')}`,
  );
}

/** What a runtime loads, the form to deploy first. */
export const formatsOf = (runtime: Runtime): readonly Format[] =>
  formats.filter((format) => format.runtime === runtime);

/** The format that a file is named as, if any. */
export const formatOfFile = (path: string): Format | undefined =>
  formats.find(({ extension }) => path.toLowerCase().endsWith(extension));
