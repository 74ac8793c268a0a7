import * as z from 'zod';
import { readZip } from '../../checkpoint/torch/zip.ts';
import { UserError } from '../../common/errors.ts';
import { FileReader, writeFileWhole } from '../../common/files.node.ts';
import type { Graph } from '../../graph/graph.ts';
import { optimizeForTorch } from '../../optimize/optimize-for-torch.ts';
import { runTorchArtifact } from '../../runtime/pytorch.node.ts';
import { pytorchFiles } from '../../runtime/runtimes.node.ts';
import type { Engine, Tensors } from '../../runtime/session.ts';
import { format } from '../format.ts';
import { verifyRun } from '../verify.ts';
import { checkArchive } from './check-archive.ts';
import { archiveContents } from './contents.ts';
import { exportLite, liteOptions } from './lite.ts';
import { exportTorchScript } from './script.ts';

/** `.pt`, read back, and run where the user names a Python with torch. */
export const torchScriptFormat = format({
  name: 'torchscript',
  extension: '.pt',
  about: 'PyTorch in Python and C++',
  runtime: pytorchFiles,
  options: z.strictObject({}),
  async write({ graph, path }) {
    writeFileWhole(path, exportTorchScript(graph));
  },
  async verify({ engine, graph, path }) {
    readBack(path, 'torchscript');
    return judged(engine, graph, path);
  },
  isOne: (path) => archiveHas(path, 'constants.pkl'),
  contents: (path) => reading(path, (file) => archiveContents(file, path)),
});

/** `.ptl`, likewise; without XNNPACK a PyTorch refuses files for phones that have it. */
export const liteFormat = format({
  name: 'ptl',
  extension: '.ptl',
  about: 'PyTorch Lite on Android and iOS',
  runtime: pytorchFiles,
  options: liteOptions,
  async write({ engine, graph, path, options }) {
    writeFileWhole(path, exportLite(await optimizeForTorch(engine, graph), options));
  },
  async verify({ engine, graph, path, options }) {
    readBack(path, 'lite');
    return options.xnnpack ? 'only a PyTorch with XNNPACK could' : judged(engine, graph, path);
  },
  isOne: (path) => archiveHas(path, 'bytecode.pkl'),
  contents: (path) => reading(path, (file) => archiveContents(file, path)),
});

/** Whether a file is a zip archive with an entry of that name in its folder; a checkpoint of weights has neither code nor bytecode. */
function archiveHas(path: string, entry: string): boolean {
  try {
    return reading(path, readZip).some(({ name }) => name.slice(name.indexOf('/') + 1) === entry);
  } catch (error) {
    if (error instanceof UserError) return false;
    throw error;
  }
}

function reading<T>(path: string, use: (file: FileReader) => T): T {
  const file = new FileReader(path);
  try {
    return use(file);
  } finally {
    file.close();
  }
}

/** @throws Error when the archive does not hold together */
function readBack(path: string, kind: 'torchscript' | 'lite'): void {
  reading(path, (file) => checkArchive(file, kind));
}

/**
 * PyTorch's and ONNX Runtime's kernels round int8 and float16 activations at other places, so their
 * results may be farther apart than those of one runtime.
 */
const tolerances = { fp32: 1e-4, fp16: 1e-2, int8: 0.1, int4: 0.1 };

/**
 * Has PyTorch run a file, where the user names a Python (`PQV_PYTHON`): on any other it might be absent.
 * @returns why it was not run, if so
 */
async function judged(engine: Engine, graph: Graph, path: string): Promise<string | undefined> {
  if (!process.env.PQV_PYTHON) return 'set PQV_PYTHON to a Python with torch for that';
  const [input, ...inputs] = graph.inputs.filter((value) => !value.isConstant);
  const [output, ...outputs] = graph.outputs;
  const known = (input?.dtype === 'float32' || input?.dtype === 'uint8') && output?.dtype === 'float32';
  if (!known || inputs.length > 0 || outputs.length > 0) {
    return 'its input is not one tensor of float32 or uint8, or its output not one of float32';
  }
  const run = (feeds: Tensors) => ({ [output.name]: runTorchArtifact(path, feeds[input.name]!) });
  await verifyRun(engine, graph, run, tolerances);
  return undefined;
}
