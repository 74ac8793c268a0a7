import * as z from 'zod';
import { modelPrecisions } from '../quantize/record.ts';

const count = z.number().int().nonnegative();
const share = z.number().min(0).max(1);

export const stageNames = ['dense', 'pruned', 'finetuned', 'quantized'] as const;

/** Milliseconds of one run, batch 1. */
const latencySchema = z.object({
  median: z.number().nonnegative(),
  p95: z.number().nonnegative(),
  runs: count,
});

/** A model as it stands after a stage, and what was measured of it. What was not measured is absent. */
const stageSchema = z.looseObject({
  stage: z.enum(stageNames),
  precision: z.enum(modelPrecisions),
  /** Whose int8 arithmetic. */
  backend: z.string().nullish(),
  /** int8: what rounding the weights changed, relative to their norm; `plain`: with a plain scale a channel. */
  weightError: z.object({ relative: z.number(), plain: z.number() }).optional(),
  /** What one should know of its numbers, a sentence each. */
  notes: z.array(z.string()).optional(),
  /** Shares of the held-out images. */
  top1: share.optional(),
  top5: share.optional(),
  /** Mean cross-entropy in nats; null when the model's answers were no numbers. */
  loss: z.preprocess((loss) => (Number.isFinite(loss) ? loss : null), z.number().nullable()).optional(),
  /** Held-out images measured. */
  samples: count.optional(),
  parameters: count,
  /** Multiply-accumulates for one image. */
  macs: count,
  /** Size of `file`, external weights included. */
  bytes: count,
  latencyMs: latencySchema.optional(),
  /** Largest resident memory of a process that runs only this model. */
  peakRssBytes: count.optional(),
  /** Median latency of the dense model over this one's. */
  speedup: z.number().positive().optional(),
  /** Relative to the run directory. */
  file: z.string(),
});

/** A file that leaves the run. */
const artifactSchema = z.looseObject({
  format: z.string(),
  /** Relative to the run directory. */
  file: z.string(),
  bytes: count,
  /** The one to ship, where several do. */
  ship: z.boolean().optional(),
});

/** One point of the training curve. */
const trainingPointSchema = z.object({ step: count, loss: z.number(), lr: z.number() });

/** Channels left in one layer. */
const channelsSchema = z.object({ layer: z.string(), kept: count, total: count });

/** What the model that ships said about one image. */
const sampleSchema = z.looseObject({
  id: z.string(),
  /** Class names. */
  label: z.string(),
  predicted: z.string(),
  /** Of the predicted class. */
  probability: share,
  /** A `data:` URI of a small picture. */
  thumbnail: z.string().startsWith('data:image/').optional(),
});

/** A model that a search tried. */
const triedSchema = z.looseObject({
  /** Share of the channels that went. */
  ratio: share,
  importance: z.string(),
  compensate: z.string(),
  dtype: z.string(),
  top1: share,
  bytes: count,
});

const searchSchema = z.looseObject({
  /** Points, or bytes, that it kept to. */
  maxDrop: z.number().nullable(),
  targetBytes: z.number().nullable(),
  measuredOn: z.string(),
  samples: count,
  tried: z.array(triedSchema),
  chosen: triedSchema,
  /** Why it ended. */
  stopped: z.string(),
});

/** What a lower precision would have given; float16 has neither backend nor scheme. */
const backendSchema = z.looseObject({
  backend: z.string().optional(),
  scheme: z.string().optional(),
  dtype: z.enum(['fp16', 'int8']),
  /** Share of the held-out images. */
  top1: share,
  /** Size of the file, external weights included. */
  bytes: count,
});

/** A file as one device ran it, in one way. */
const deviceCellSchema = z.looseObject({
  /** Relative to the run directory. */
  file: z.string(),
  /** Of the file that was measured, in hexadecimal. */
  sha256: z.string().optional(),
  /** The stage's file that it was written from, where the lab wrote it. */
  madeFrom: z.object({ file: z.string(), sha256: z.string() }).optional(),
  /** As stages are named: `dense`, `int8`. */
  name: z.string(),
  precision: z.enum(modelPrecisions),
  format: z.string(),
  /** Name and version of what ran it. */
  runtime: z.string(),
  /** For people: `LiteRT.js, WASM, 4 threads`, `LiteRT, native, 1 thread`. */
  how: z.string(),
  accelerator: z.enum(['wasm', 'webgpu', 'cpu']),
  threads: count.optional(),
  latencyMs: latencySchema.partial({ p95: true }).optional(),
  /** What ran it tells no median: `latencyMs.median` is the mean. */
  averaged: z.literal(true).optional(),
  /** Milliseconds of the first run, and of loading the file before it. */
  firstMs: z.number().nonnegative().optional(),
  loadMs: z.number().nonnegative().optional(),
  warmup: count.optional(),
  /** The whole graph ran on the accelerator, where the runtime tells. */
  delegated: z.boolean().optional(),
  /** Of WebAssembly's memory. */
  memoryBytes: count.optional(),
  /** Distance of the outputs from those expected, relative to these; null when something that is no number came. */
  error: z.number().nullable().optional(),
  /** Whether that is within what rounding explains; null where nothing was expected. */
  right: z.boolean().nullable().optional(),
  /** Why there is no figure. */
  failed: z.string().optional(),
});

/** A phone, tablet or browser that ran the files of the run. */
const deviceSchema = z.looseObject({
  name: z.string(),
  userAgent: z.string(),
  cores: count,
  memoryGigabytes: z.number().optional(),
  gpu: z.string().optional(),
  /** Cross-origin isolated; without it WebAssembly has one thread. */
  isolated: z.boolean(),
  relaxedSimd: z.boolean(),
  /** Only what it computes is real; it has no times. */
  emulated: z.boolean().optional(),
  measuredAt: z.string(),
  cells: z.array(deviceCellSchema),
});

/** The content of `report.json`; fields that are not known here are kept. */
export const reportSchema = z.looseObject({
  model: z.string(),
  /** The options of the run, whatever they are. */
  recipe: z.record(z.string(), z.unknown()),
  machine: z.looseObject({
    cpu: z.string(),
    threads: count,
    engine: z.string(),
    cores: count.optional(),
    memoryBytes: count.optional(),
    processorClass: z.string().optional(),
    system: z.string().optional(),
  }),
  /** When it was measured, ISO 8601. */
  measuredAt: z.string().optional(),
  stages: z.array(stageSchema),
  artifacts: z.array(artifactSchema),
  training: z.array(trainingPointSchema).optional(),
  channels: z.array(channelsSchema).optional(),
  samplesShown: z.array(sampleSchema).optional(),
  /** The model before quantization under every backend and scheme, where that was asked for. */
  backends: z.array(backendSchema).optional(),
  /** How much to prune, where that was searched for. */
  search: searchSchema.optional(),
  /** What `pqv lab` measured, a device each. */
  devices: z.array(deviceSchema).optional(),
});

export type Report = z.infer<typeof reportSchema>;
export type ReportStage = z.infer<typeof stageSchema>;
export type ReportArtifact = z.infer<typeof artifactSchema>;
export type TrainingPoint = z.infer<typeof trainingPointSchema>;
export type LayerChannels = z.infer<typeof channelsSchema>;
export type ReportSample = z.infer<typeof sampleSchema>;
export type ReportSearch = z.infer<typeof searchSchema>;
export type ReportBackend = z.infer<typeof backendSchema>;
export type ReportDevice = z.infer<typeof deviceSchema>;
export type ReportDeviceCell = z.infer<typeof deviceCellSchema>;
