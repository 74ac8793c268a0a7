import * as z from 'zod';
import type { InputForm } from './model-input.ts';
import { runners } from './runners.ts';
import type { Fit } from './variant.ts';

/** What a page is told: the variants, what to try them on, and how long to measure. */
export interface Manifest {
  readonly title: string;
  readonly variants: readonly ShownVariant[];
  /** Timed runs of each cell at most, untimed before them, and milliseconds that timing may take. */
  readonly runs: number;
  readonly warmup: number;
  readonly budget: number;
  /** Milliseconds that a measurement may take in all, its download apart. */
  readonly limit: number;
  /** Small pictures to classify, as `data:` URIs, with what is on them. */
  readonly pictures: readonly { readonly image: string; readonly label: string }[];
  /** Graphs are handed out to be timed, for a latency table: on so many threads. */
  readonly timing: 'one' | 'many' | null;
  /** Ids of the runners that are asked for. */
  readonly runners: readonly string[];
}

/** A variant without what only the server needs. */
export interface ShownVariant {
  readonly id: string;
  /** `int8`, `mine: int8` */
  readonly title: string;
  readonly file: string;
  readonly format: 'onnx' | 'tflite';
  readonly bytes: number;
  readonly input: InputForm;
  readonly output: string;
  /** Pixels in base64. */
  readonly samples: readonly { width: number; height: number; channels: number; pixels: string }[];
  readonly classNames: readonly string[] | null;
  readonly scores: string | null;
  readonly fit: Fit;
}

const line = (most: number) => z.string().max(most);
const milliseconds = z.number().min(0).max(3.6e6);

/** How a device introduces itself. */
export const helloSchema = z.object({
  /** Given by who holds it. */
  name: line(60),
  userAgent: line(400),
  /** Model and platform, where the browser tells. */
  model: line(80).optional(),
  platform: line(80).optional(),
  cores: z.number().int().min(1).max(4096),
  /** Gigabytes, as coarse as browsers tell. */
  memory: z.number().min(0).max(4096).optional(),
  isolated: z.boolean(),
  relaxedSimd: z.boolean(),
  webgpu: z.boolean(),
  gpu: line(120).optional(),
  /** What it was called by the lab before its page was loaded again. */
  again: z.uuid().optional(),
});
export type Hello = z.output<typeof helloSchema>;

const identity = { device: z.uuid(), variant: line(20), runner: z.enum(runners.map(({ id }) => id)) };

/** What came of one cell: a variant by a runner. */
export const outcomeSchema = z.discriminatedUnion('status', [
  z.object({ ...identity, status: z.literal('begun') }),
  z.object({
    ...identity,
    status: z.literal('measured'),
    version: line(40),
    threads: z.number().int().min(1).max(4096),
    /** To load and compile the file, download apart. */
    load: milliseconds,
    first: milliseconds,
    median: milliseconds,
    p95: milliseconds,
    runs: z.number().int().min(1).max(100_000),
    warmup: z.number().int().min(0).max(100_000),
    /** The runtime gave the whole graph to the accelerator asked for; absent where it does not tell. */
    delegated: z.boolean().optional(),
    /** Of WebAssembly's memory, where it could be seen. */
    memory: z.number().int().min(0).optional(),
    /** Float32 in base64, one text a sample. */
    outputs: z.array(line(200_000)).max(8),
  }),
  z.object({ ...identity, status: z.literal('failed'), reason: line(500) }),
]);
export type Outcome = z.output<typeof outcomeSchema>;
export type Measured = Extract<Outcome, { status: 'measured' }>;

/** A timing handed in, that there can be none, or neither; and the question what is next. */
export const nextSchema = z.object({
  device: z.uuid(),
  failed: line(500).optional(),
  result: z
    .object({
      id: z.number().int().min(1),
      times: z.array(z.array(milliseconds.gt(0)).min(1).max(200)).max(64),
      engine: line(60),
      threads: z.number().int().min(1).max(4096),
    })
    .optional(),
});

export const goodbyeSchema = z.object({ device: z.uuid() });

/** What a page is answered to the outcome of a cell. */
export interface OutcomeAnswer {
  readonly right: boolean | null;
  readonly error: number | null;
}
