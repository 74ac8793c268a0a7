/**
 * {@link "pqv-mobile"} with what Node adds: ONNX Runtime as the engine, models and data sets on disk, files
 * that ship, latency, and whole runs.
 * @module pqv-mobile/node
 */
export { openSafetensors, saveSafetensors } from './checkpoint/safetensors.node.ts';
export { columns } from './cli/columns.ts';
export { type TerminalProgressOptions, terminalProgress } from './cli/progress-bar.ts';
export { decodeFile, decodeImage } from './dataset/decode.node.ts';
export { type DataReading, openDataset } from './dataset/open.node.ts';
export { type Artifact, exportModelFile } from './export/export-file.node.ts';
export type { CardImage, CardTensor, FileCard, ImageInput } from './export/file-card.ts';
export type { GoldenSample } from './export/golden-sample.ts';
export { caseFeeds, caseGraph, inOpsets, type OpCase } from './graph/op-cases/case.ts';
export { opCases } from './graph/op-cases/cases.ts';
export * from './index.ts';
export {
  type BenchmarkFile,
  type BenchmarkOptions,
  benchmark,
  type Latency,
} from './measure/latency.node.ts';
export { type ClosableMeter, latencyMeter, type MeterOptions } from './measure/latency-meter.node.ts';
export { describeMachine, type Machine } from './measure/machine.node.ts';
export { loadOnnx, saveOnnx } from './onnx/file.node.ts';
export { type CompareBackendsOptions, compareBackends } from './pipeline/compare-backends.node.ts';
export type { Context, ModelData } from './pipeline/context.node.ts';
export { type OptimizeOptions, type OptimizeResult, optimizeModel } from './pipeline/optimize.node.ts';
export { formatBytes, formatPercent, formatPoints } from './report/format.ts';
export { onnxruntime } from './runtime/onnxruntime.node.ts';
export { findPython } from './runtime/python.node.ts';
export { fileCheckpoints } from './train/checkpoint.node.ts';
export {
  JobPrepared,
  type TorchrunPlace,
  torchrunFinetuner,
} from './train/torchrun/torchrun.node.ts';
export { type TorchrunOptions, torchrunOptions } from './train/torchrun/torchrun-options.ts';
export { loadModel } from './zoo/load.node.ts';
export type { LoadOptions, ModelReading } from './zoo/load-options.ts';
export { saveModel, saveTimm } from './zoo/save.node.ts';
