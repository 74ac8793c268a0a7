import type { Graph, Node, Value } from '../graph/graph.ts';
import { contradiction } from '../graph/infer.ts';
import { argumentsOf } from '../graph/schema/arguments.ts';
import { type OpArguments, type OpName, rowOf } from '../graph/schema/signature.ts';
import { capturedValues, subgraphs } from '../graph/traversal.ts';
import { type DependencyContext, type DependencyRule, pinInputs } from './dependency-rules/rule.ts';
import { dependencyRules } from './dependency-rules/rules.ts';
import { axisFactor, type Layout } from './layout.ts';
import { Layouts } from './layouts.ts';
import { causeOf, given, type PinCause, returned } from './pin-causes.ts';

const floats = new Set(['float32', 'float16', 'bfloat16', 'float64']);

/** The layouts of all values of a graph, their labels united as far as one index needs another. */
export interface Dependencies {
  readonly layouts: Layouts;
  layout(value: Value): Layout;
  /** Constants with labelled axes, in the order of their first use. */
  readonly constants: readonly Value[];
  /** Ops without a dependency rule, whose inputs were pinned. */
  readonly unknownOps: readonly string[];
}

class Sweep extends Layouts implements DependencyContext {
  readonly known = new Map<Value, Layout>();
  readonly constants: Value[] = [];
  /** Why computed values have no channels. */
  readonly #without = new Map<Value, PinCause>();

  /** What pins channels in a node is either the node itself, or what another operand lacks channels for. */
  causeAt(node: Node, own: PinCause): PinCause {
    if (own.kind === 'softmax' || own.kind === 'opaque') return own;
    for (const input of node.inputs) {
      const cause = input && this.#without.get(input);
      if (cause) return cause;
    }
    return own;
  }

  /** Notes of a value without channels why. */
  noteWithout(value: Value, cause: PinCause): void {
    if (floats.has(value.dtype ?? '') && this.layout(value).length === 0) this.#without.set(value, cause);
  }

  layout(value: Value | undefined): Layout {
    if (!value) return [];
    let layout = this.known.get(value);
    if (!layout) {
      layout = this.#initial(value);
      this.known.set(value, layout);
    }
    return layout;
  }

  /** A constant's axes are free; inputs and what shapes are made of have no channels. */
  #initial(value: Value): Layout {
    if (!value.tensor || !floats.has(value.tensor.dtype)) return [];
    this.constants.push(value);
    return value.tensor.shape.flatMap((dim, axis) =>
      dim > 1 ? [axisFactor(axis, this.labels.fresh(dim))] : [],
    );
  }
}

/**
 * Finds which indices of which axes depend on each other: one sweep over the nodes, in which every
 * index of every axis has a label and the ops' rules unite labels (DepGraph, CVPR 2023, on the graph of
 * values instead of layers). Graph inputs have no channels, so what must agree with them is pinned;
 * outputs are pinned; so is whatever an op without a rule reads.
 */
export function findDependencies(graph: Graph, units: 'elements' | 'wholes' = 'elements'): Dependencies {
  const sweep = new Sweep(units);
  const unknownOps = new Set<string>();
  for (const input of graph.inputs) if (!input.isConstant) sweep.noteWithout(input, given(input));
  for (const node of graph.nodes) {
    const rule = rowOf(dependencyRules, node) as DependencyRule<OpArguments[OpName]> | undefined;
    const shapes = hasShapes(node);
    const known = rule && shapes && subgraphs(node).length === 0;
    if (!rule) unknownOps.add(node.op);
    const cause = sweep.causeAt(node, causeOf(node, { rule: rule !== undefined, shapes }));
    sweep.labels.cause = cause;
    const layouts = known ? applied(rule, node, sweep) : pinInputs(node, sweep);
    node.outputs.forEach((output, i) => {
      if (!output) return;
      sweep.known.set(output, floats.has(output.dtype ?? '') ? (layouts[i] ?? []) : []);
      sweep.noteWithout(output, cause);
    });
    for (const captured of capturedValues(node)) sweep.pin(sweep.layout(captured));
  }
  for (const output of graph.outputs) {
    sweep.labels.cause = returned(output);
    sweep.pin(sweep.layout(output));
  }
  return {
    layouts: sweep,
    layout: (value) => sweep.layout(value),
    constants: sweep.constants,
    unknownOps: [...unknownOps],
  };
}

function applied(rule: DependencyRule<OpArguments[OpName]>, node: Node, sweep: Sweep): readonly Layout[] {
  try {
    return rule(node, argumentsOf(node), sweep);
  } catch (error) {
    throw contradiction(node, error);
  }
}

const hasShapes = (node: Node): boolean =>
  [...node.inputs, ...node.outputs].every((value) => !value || value.shape !== undefined);
