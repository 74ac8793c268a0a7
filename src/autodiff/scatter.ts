import { UserError } from '../common/errors.ts';
import type { Node } from '../graph/graph.ts';
import { type GradientRules, single, zerosLike } from './rule.ts';

/** Whether what is written is added to what was there; otherwise it takes its place. */
function adds(node: Node, reduction: string): boolean {
  if (reduction === 'none' || reduction === 'add') return reduction === 'add';
  throw new UserError(`${node.label}: no gradient where places are written by ${reduction}`);
}

/** Writing to places that are computed, and reading from them. */
export const scatter = {
  ScatterND: single((node, { reduction }, g, { builder: b, wants }) => {
    const [, indices, updates] = node.inputs;
    const cleared = () => b.op('ScatterND', [g, indices, zerosLike(b, updates!)]);
    return [
      wants(0) ? (adds(node, reduction) ? g : cleared()) : undefined,
      undefined,
      wants(2) ? b.op('GatherND', [g, indices]) : undefined,
    ];
  }),
  ScatterElements: single((node, { axis, reduction }, g, { builder: b, wants }) => {
    const [, indices, updates] = node.inputs;
    const cleared = () => b.op('ScatterElements', [g, indices, zerosLike(b, updates!)], { axis });
    return [
      wants(0) ? (adds(node, reduction) ? g : cleared()) : undefined,
      undefined,
      wants(2) ? b.op('GatherElements', [g, indices], { axis }) : undefined,
    ];
  }),
  GatherND: single((node, args, g, { builder: b }) => {
    if (args.batch_dims !== 0)
      throw new UserError(`${node.label}: no gradient where it gathers batch by batch`);
    const zeros = zerosLike(b, node.input(0));
    return [b.op('ScatterND', [zeros, node.input(1), g], { reduction: 'add' })];
  }),
  GatherElements: single((node, { axis }, g, { builder: b }) => {
    const zeros = zerosLike(b, node.input(0));
    return [b.op('ScatterElements', [zeros, node.input(1), g], { axis, reduction: 'add' })];
  }),
} satisfies GradientRules;
