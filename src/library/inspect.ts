import type { Graph } from '../graph/graph.ts';
import { describeGroups, type GroupDescription } from '../prune/describe-groups.ts';
import type { LeftWhole } from '../prune/left-whole.ts';
import { type QuantizationFields, quantizationFields, quantizationTitle } from '../quantize/describe.ts';
import { quantization } from '../quantize/record.ts';
import { describeModel, type ModelDescription } from '../zoo/describe.ts';
import { type Capabilities, capabilities } from './capabilities.ts';

/** What a model is and what can be done with it; with `groups` what pruning can take out of it. */
export type Inspection = ModelDescription & {
  /** What was done to its numbers, in words; null for one in full precision. */
  precision: string | null;
  /** The same in fields; null for a model in full precision. */
  quantized: QuantizationFields | null;
  can: Capabilities;
  groups?: GroupDescription[];
  /** With `groups`: outputs and inputs of layers and heads that can't go, and why. */
  leftWhole?: LeftWhole[];
};

/**
 * Parameters, multiply-accumulates, input, classes and blocks of a model, measured on its graph, and what can be
 * done with it by the ops it has.
 *
 * @example
 * ```js
 * const { parameters, macs, blocks } = await inspect(model);
 * const { groups } = await inspect(model, { groups: true });
 * ```
 */
export async function inspect(model: Graph, options: { groups?: boolean } = {}): Promise<Inspection> {
  const record = quantization(model);
  return {
    ...(await describeModel(model)),
    precision: record ? quantizationTitle(record) : null,
    quantized: record ? quantizationFields(record) : null,
    can: capabilities(model),
    ...(options.groups ? describeGroups(model) : {}),
  };
}
