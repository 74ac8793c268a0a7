import * as z from 'zod';
import { parseJsonAs } from '../../common/json.ts';
import type { Graph } from '../../graph/graph.ts';

/**
 * How another tool wrote integers: pairs of quantize and dequantize around operators on reals, operators on integers of a fixed range,
 * operators on integers whose range is found at run time, or weights alone.
 */
const formats = ['QDQ', 'QOperator', 'dynamic', 'weights only'] as const;

const noteSchema = z.looseObject({
  format: z.enum(formats),
  tool: z.string().optional(),
  weights: z.array(z.string()),
  activations: z.array(z.string()),
  granularity: z.enum(['channel', 'matrix', 'block']),
  sevenBits: z.boolean(),
});

/** What a file that another tool quantized was like when it was read. */
export interface ForeignQuantization {
  readonly format: (typeof formats)[number];
  /** Who says that they wrote it. */
  readonly tool?: string | undefined;
  /** Types of the numbers that stand for weights, as they lay in the file. */
  readonly weights: readonly string[];
  /** Of those that stand for activations. */
  readonly activations: readonly string[];
  readonly granularity: 'channel' | 'matrix' | 'block';
  /** All weights keep within 7 bits, so that no sum of two products passes 16. */
  readonly sevenBits: boolean;
}

const key = 'pqv.foreign-quantization';

/** How another tool quantized the model; undefined where none did. */
export function foreignQuantization(graph: Graph): ForeignQuantization | undefined {
  const text = graph.metadata.get(key);
  return text === undefined ? undefined : parseJsonAs(noteSchema, text, `the model's note "${key}"`);
}

export function noteForeignQuantization(graph: Graph, note: ForeignQuantization): void {
  graph.metadata.set(key, JSON.stringify(note));
}
