/**
 * Prunes, finetunes, quantizes and exports image models, anywhere JavaScript runs. Nothing here computes by
 * itself: functions that need arithmetic are given an {@link Engine}, and `pqv-mobile/node` and
 * `pqv-mobile/web` have one.
 * @module pqv-mobile
 */

// The stages.

export type { Capabilities, Obstacle } from './library/capabilities.ts';
export { type CompareOptions, compare } from './library/compare.ts';
export { type EvaluateModelOptions, evaluate } from './library/evaluate.ts';
export { type ExportedModel, type ExportModelOptions, exportModel } from './library/export-model.ts';
export { type FinetuneModelOptions, finetune, finetuneModelOptions } from './library/finetune.ts';
export { type Inspection, inspect } from './library/inspect.ts';
export { type PruneModelOptions, prune, pruneModelOptions } from './library/prune.ts';
export { type QuantizeModelOptions, quantize, quantizeModelOptions } from './library/quantize.ts';
export { type SensitivityModelOptions, sensitivity, sensitivityOptions } from './library/sensitivity.ts';
export type { LabelledImages } from './library/stage-data.ts';
export type { Surroundings } from './library/surroundings.ts';

// What they give, and what goes with it.

export { InterruptedError, UserError } from './common/errors.ts';
export { type Option, type OptionsSchema, optionsOf } from './common/options.ts';
export { type Progress, type ProgressTask, silent } from './common/progress.ts';
export { Random } from './common/random.ts';
export { type OnnxOptions, onnxOptions } from './export/onnx.ts';
export { type LiteOptions, liteOptions } from './export/torchscript/lite.ts';
export type { Accuracy, EvaluateOptions, Prediction } from './measure/accuracy.ts';
export type { Agreement, OutputDifference } from './measure/agreement.ts';
export type { LayerSensitivity, Sensitivity } from './measure/sensitivity.ts';
export type { Kept } from './prune/apply.ts';
export type { GoneBranch } from './prune/branches.ts';
export type { PruningCheck } from './prune/check.ts';
export type { ChosenWidth, LatencyReport } from './prune/latency-budget.ts';
export {
  type LatencyMeter,
  type LatencyTable,
  latencyTable,
  type PieceRequest,
  type Precision,
  type Sweep,
  type SweepRequest,
  type TimedGraph,
} from './prune/latency-table.ts';
export type { GroupSummary, PruneResult } from './prune/prune.ts';
export { type ScoreRecord, scoreRecordSchema } from './prune/score-record.ts';
export type {
  CheckpointStore,
  EpochRecord,
  History,
  StepRecord,
  TrainingCheckpoint,
  TrainingProgress,
} from './train/checkpoint.ts';
export type { FinetuneContext, FinetuneResult } from './train/finetune.ts';
export { type FinetuneOptions, finetuneOptions } from './train/finetune-options.ts';
export type { TrainingWatcher, WatchedRun } from './train/watch.ts';

// Models.

export type { BlockShape } from './zoo/blocks-of.ts';
export { describeModel, type ModelDescription, parameterCount } from './zoo/describe.ts';
export { buildModel, initModel, type ModelConfig } from './zoo/model.ts';
export type { ModelArgs } from './zoo/model-args.ts';
export { type ModelInfo, modelInfo, type PreprocessingOrigin, setModelInfo } from './zoo/model-info.ts';
export {
  type Initializer,
  type ParameterSource,
  randomParameters,
  type StateOptions,
} from './zoo/parameter-source.ts';
export { type ModelFiles, type ReadModelOptions, readModel } from './zoo/read-model.ts';
export { type Architecture, findArchitecture, modelNames } from './zoo/registry.ts';
export type { Positions, Size } from './zoo/resample-positions.ts';
export {
  provideTimmModels,
  type TimmConfigFields,
  type TimmModel,
  type TimmModels,
} from './zoo/timm-models.ts';

// Data.

export type { Augmentation } from './dataset/augmentation.ts';
export type { Batch, Box, Dataset, ImageLocation, RawImage, Split, View, Viewer } from './dataset/dataset.ts';
export type { ImagePool, Preparation } from './dataset/image-pool.ts';
export { type Batches, batches, type LoaderOptions } from './dataset/loader.ts';
export type { Mixing } from './dataset/mix.ts';
export { evalPreparation, type Prepare } from './dataset/prepare.ts';
export {
  fromTimmConfig,
  type Preprocessing,
  type TimmInputConfig,
  toTimmConfig,
} from './dataset/preprocessing.ts';
export { createResampler, type Resampler } from './dataset/resample.ts';

// Engines.

export { type Ort, ortEngine } from './runtime/onnxruntime.ts';
export {
  type Engine,
  type InputSignature,
  runOnce,
  type Session,
  type SessionOptions,
  type Tensors,
} from './runtime/session.ts';

// Graphs and files.

export {
  type ByteSource,
  type Checkpoint,
  encodeSafetensors,
  readSafetensors,
} from './checkpoint/safetensors.ts';
export { float } from './graph/attribute.ts';
export { Builder, type Operand } from './graph/builder.ts';
export { checkGraph } from './graph/check.ts';
export { countMacs, type ShapeOf } from './graph/cost.ts';
export { Graph, type Node, type Value } from './graph/graph.ts';
export { type Linear, linears } from './graph/linear.ts';
export { parameters } from './graph/parameters.ts';
export { type DataType, type NumericType, Tensor, type TensorData, type TypedArray } from './graph/tensor.ts';
export type { Attribute, AttributeInput, Dim, Shape, Use } from './graph/types.ts';
export { readOnnx } from './onnx/read.ts';
export type { ExternalData } from './onnx/tensor-proto.ts';
export { type EncodedModel, encodeOnnx, weightBytes, writeOnnx } from './onnx/write.ts';

// Single passes, for those who build stages of their own.

export { backward, type StraightThrough } from './autodiff/backward.ts';
export { exportOnnx } from './export/onnx.ts';
export { checkTflite, type TfliteSummary } from './export/tflite/check-file.ts';
export { exportTflite } from './export/tflite/export.ts';
export { tfliteLowering } from './export/tflite/rules.ts';
export { exportLite } from './export/torchscript/lite.ts';
export { torchscriptLowering } from './export/torchscript/rules.ts';
export { exportTorchScript } from './export/torchscript/script.ts';
export { optimizeForOrt } from './optimize/optimize.ts';
export { optimizeForTorch } from './optimize/optimize-for-torch.ts';
export type { SensitivityOptions } from './prune/accumulate.ts';
export type { CoupledAxis, GroupDescription } from './prune/describe-groups.ts';
export type { GroupSlice, Members, PruningGroup } from './prune/group.ts';
export {
  findGroups,
  type Grouping,
  type GroupOptions,
  groupOptions,
} from './prune/groups.ts';
export { type Importance, importances, scoredParameters } from './prune/importance.ts';
export type { LeftWhole } from './prune/left-whole.ts';
export type { Role } from './prune/roles.ts';
export { axisCurvatures, meanSquaredGradients, summedGradients } from './prune/sensitivity.ts';
export type { QuantizedActivation } from './quantize/activation.ts';
export type { Affine } from './quantize/affine.ts';
export {
  backends,
  exactOn,
  type Granularity,
  type NumberOptions,
  type Numbers,
  numbersOf,
  weightKinds,
} from './quantize/backends.ts';
export type { CalibrationData } from './quantize/calibrate.ts';
export type { QuantizationFields } from './quantize/describe.ts';
export { type DynamicOptions, quantizeDynamic } from './quantize/dynamic.ts';
export { type FakeQuantization, fakeQuantize } from './quantize/fake.ts';
export { type Float16Options, toFloat16 } from './quantize/float16.ts';
export { forms, toForm } from './quantize/forms.ts';
export { quantizedLayers } from './quantize/match-quantized.ts';
export { observers } from './quantize/observers.ts';
export type { QuantizedLayer } from './quantize/quantized-layer.ts';
export { quantizeStatic, type StaticOptions } from './quantize/static.ts';
export { type BatchNormMode, batchNormModes } from './train/batch-norm.ts';
export { crossEntropy, type Distillation, type DistillKind, distillKinds } from './train/loss.ts';
export type { OptimizerName } from './train/optimizer.ts';
export type { ScheduleName } from './train/schedule.ts';
export {
  type StepInput,
  type StepResult,
  Trainer,
  type TrainerOptions,
  type TrainerState,
} from './train/trainer.ts';
