import { z } from 'zod';
import { formats } from '../export/formats.node.ts';

export const importances = ['l1', 'l2', 'taylor', 'hessian', 'random'] as const;
export const backends = ['mlas', 'x86', 'fbgemm', 'onednn', 'qnnpack'] as const;
export const precisions = ['fp32', 'fp16', 'int8'] as const;
export const schemes = ['dynamic', 'static'] as const;
export const observers = ['minmax', 'percentile', 'mse'] as const;
/** Names of the files that can be written. */
export const formatNames = formats.map(({ name }) => name);

const whole = (low: number) => z.number().int().min(low);

/** How channels are chosen. `ratio` is the share of every group's channels that goes. */
export const pruneSchema = z.strictObject({
  ratio: z.number().gt(0).lt(1),
  importance: z.enum(importances).default('l1'),
  /** Images that Taylor and Hessian look at. */
  samples: whole(1).default(256),
  headDims: z.enum(['tied', 'free']).default('free'),
  /** Rank channels across groups instead of taking the ratio from each. */
  global: z.boolean().default(false),
  /** Share of whole attention heads that goes. */
  heads: z.number().min(0).lt(1).default(0),
  /** Leave the embedding as it is; prune only inside blocks. */
  bottleneck: z.boolean().default(false),
  /** Keep a multiple of this many channels in every group. */
  roundTo: whole(1).default(1),
  /** Parameters not to prune, as glob patterns. */
  ignore: z.array(z.string()).default([]),
  /** Choose the ratio so that about this many GMACs are left. */
  targetMacs: z.number().positive().optional(),
});

/** How the pruned weights are trained again. */
export const finetuneSchema = z.strictObject({
  epochs: whole(0),
  batchSize: whole(1).default(64),
  /** Peak learning rate. */
  lr: z.number().positive().default(3e-4),
  weightDecay: z.number().min(0).default(0.05),
  /** Share of the steps in which the learning rate rises to its peak. */
  warmup: z.number().min(0).lt(1).default(0.1),
  labelSmoothing: z.number().min(0).lt(1).default(0.1),
  /** Gradients are scaled down to this global norm; 0 turns it off. */
  clipNorm: z.number().min(0).default(1),
  /** Weight of the dense model's soft targets in the loss; 0 turns distillation off. */
  distill: z.number().min(0).max(1).default(0),
});

/** The lower-precision form that ships. */
export const quantizeSchema = z.strictObject({
  dtype: z.enum(precisions).default('int8'),
  scheme: z.enum(schemes).default('dynamic'),
  backend: z.enum(backends).default('mlas'),
  /** Element type of an FP16 model's inputs and outputs. */
  io: z.enum(['float32', 'float16']).default('float32'),
  /** How a static range follows from what was seen. */
  observer: z.enum(observers).default('mse'),
  /** Images that ranges are found on. */
  samples: whole(1).default(128),
});

/** Everything `pqv optimize` was asked to do; written into the run directory and the report. */
export const recipeSchema = z.strictObject({
  model: z.string(),
  arch: z.string().optional(),
  data: z.string(),
  prune: pruneSchema.optional(),
  finetune: finetuneSchema.optional(),
  quantize: quantizeSchema.optional(),
  formats: z.array(z.enum(formatNames)).default(['onnx']),
  /** Measure the trained model under every backend and scheme, whichever one ships. */
  compareBackends: z.boolean().default(false),
  /** Images of the held-out split that accuracy is measured on; all of them when absent. */
  evalSamples: whole(1).optional(),
  /** Timed runs for each model. */
  runs: whole(1).default(50),
  seed: whole(0).default(0),
  threads: whole(1),
});

export type PruneRecipe = z.infer<typeof pruneSchema>;
export type FinetuneRecipe = z.infer<typeof finetuneSchema>;
export type QuantizeRecipe = z.infer<typeof quantizeSchema>;
export type Recipe = z.infer<typeof recipeSchema>;
