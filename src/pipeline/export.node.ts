import { statSync } from 'node:fs';
import { UserError } from '../common/errors.ts';
import { writeOnnxArtifact } from '../export/onnx.node.ts';
import type { OnnxOptions } from '../export/onnx.ts';
import { writeOrtArtifact } from '../export/ort.node.ts';
import { saveLite, saveTorchScript } from '../export/torchscript/files.node.ts';
import type { LiteOptions } from '../export/torchscript/lite.ts';
import { verifyRun } from '../export/verify.ts';
import type { Graph } from '../graph/graph.ts';
import { optimizeForTorch } from '../optimize/optimize-for-torch.ts';
import { quantization } from '../quantize/record.ts';
import { runTorchArtifact } from '../runtime/pytorch.node.ts';
import type { Engine, Tensors } from '../runtime/session.ts';
import { formats } from './recipe.ts';

export type ExportFormat = (typeof formats)[number];

/** A file that ships. */
export interface Artifact {
  format: ExportFormat;
  file: string;
  /** Weights in a file beside it included. */
  bytes: number;
  /** Loaded, run and compared with the graph; or read back and found to hold together. */
  verified: 'run' | 'structure';
  /** What one should know of it, a sentence each. */
  notes: string[];
}

/** What some formats can be told. */
export type ExportOptions = OnnxOptions & LiteOptions;

interface Format {
  extension: string;
  /**
   * Writes the file and checks it; what can't be right does not stay.
   * @returns why it was not run but checked by its structure, if so
   */
  write(engine: Engine, graph: Graph, path: string, options: ExportOptions): Promise<string | undefined>;
}

/** A writer that runs what it wrote. */
const whenRun =
  (write: typeof writeOnnxArtifact): Format['write'] =>
  async (...args) => {
    await write(...args);
    return undefined;
  };

export const formatTable: Record<ExportFormat, Format> = {
  onnx: { extension: 'onnx', write: whenRun(writeOnnxArtifact) },
  ort: { extension: 'ort', write: whenRun(writeOrtArtifact) },
  torchscript: {
    extension: 'pt',
    write: (engine, graph, path) => judged(engine, graph, (check) => saveTorchScript(graph, path, check)),
  },
  ptl: {
    extension: 'ptl',
    async write(engine, graph, path, options) {
      const optimized = await optimizeForTorch(engine, graph);
      const save = (check?: Check) => saveLite(optimized, path, options, check);
      if (!options.xnnpack) return judged(engine, graph, save);
      await save();
      return 'only a PyTorch with XNNPACK could';
    },
  },
};

/**
 * PyTorch's and ONNX Runtime's kernels round int8 and float16 activations at other places, so their
 * results may be farther apart than those of one runtime.
 */
const torchTolerances = { fp32: 1e-4, fp16: 1e-2, int8: 0.1 };

type Check = (draft: string) => Promise<void>;

/**
 * Has PyTorch run a file before it takes its place, where the user names a Python (`PQV_PYTHON`): on any
 * other it might be absent, and without XNNPACK it refuses files for phones that have it.
 * @returns why it was not run, if so
 */
async function judged(
  engine: Engine,
  graph: Graph,
  save: (check?: Check) => Promise<void>,
): Promise<string | undefined> {
  const python = process.env.PQV_PYTHON;
  const inputs = graph.inputs.filter((value) => !value.isConstant);
  const floats = [...inputs, ...graph.outputs].every((value) => value.dtype === 'float32');
  if (!python || inputs.length !== 1 || graph.outputs.length !== 1 || !floats) {
    await save();
    return python
      ? 'its inputs or outputs are not one float32 tensor each'
      : 'set PQV_PYTHON to a Python with torch for that';
  }
  await save(async (draft) => {
    const run = (feeds: Tensors) => ({
      [graph.outputs[0]!.name]: runTorchArtifact(draft, feeds[inputs[0]!.name]!),
    });
    await verifyRun(engine, graph, run, torchTolerances);
  });
  return undefined;
}

/** The one format that each option is for. */
const optionFormats: Record<keyof ExportOptions, ExportFormat> = { form: 'onnx', xnnpack: 'ptl' };

/** What the fused operator does to the numbers of backends with 7-bit activations. */
function rangeNote(graph: Graph, format: ExportFormat, { form = 'fused' }: ExportOptions): string[] {
  const { scheme, backend, reduceRange } = quantization(graph) ?? {};
  const fused = form === 'fused' && (format === 'onnx' || format === 'ort');
  if (!reduceRange || scheme !== 'dynamic' || !fused) return [];
  return [
    `fused layers have activations of 8 bits; the 7 of ${backend} are in --format onnx --form integer or qdq`,
  ];
}

/**
 * Writes a model in a format.
 * @throws UserError when the place can't be written, an op has no form there, an option is of another
 *   format, or the file is named as another format is
 */
export async function exportModelFile(
  engine: Engine,
  graph: Graph,
  format: ExportFormat,
  path: string,
  options: ExportOptions = {},
): Promise<Artifact> {
  for (const [option, wanted] of Object.entries(optionFormats)) {
    if (options[option as keyof ExportOptions] && format !== wanted) {
      throw new UserError(`--${option} is for --format ${wanted}, not ${format}`);
    }
  }
  const named = formats.find((name) => path.toLowerCase().endsWith(`.${formatTable[name].extension}`));
  if (named && named !== format) {
    const { extension } = formatTable[format];
    throw new UserError(
      `${path} is named as --format ${named} is; the format ${format} goes into a .${extension} file`,
    );
  }
  const notRun = await formatTable[format].write(engine, graph, path, options);
  const external = statSync(`${path}.data`, { throwIfNoEntry: false })?.size ?? 0;
  const notes = rangeNote(graph, format, options);
  if (notRun) notes.push(`checked by its structure, not run: ${notRun}`);
  const bytes = statSync(path).size + external;
  return { format, file: path, bytes, verified: notRun ? 'structure' : 'run', notes };
}
