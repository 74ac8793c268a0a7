import type { Graph, Node, Value } from '../graph/graph.ts';
import { contradiction } from '../graph/infer.ts';
import { argumentsOf } from '../graph/schema/arguments.ts';
import { type OpArguments, type OpName, rowOf } from '../graph/schema/signature.ts';
import { capturedValues, subgraphs } from '../graph/traversal.ts';
import { type DependencyContext, type DependencyRule, pinInputs } from './dependency-rules/rule.ts';
import { dependencyRules } from './dependency-rules/rules.ts';
import { axisFactor, type Layout } from './layout.ts';
import { Layouts } from './layouts.ts';

const floats = new Set(['float32', 'float16', 'bfloat16', 'float64']);

/** The layouts of all values of a graph, their labels united as far as one index needs another. */
export interface Dependencies {
  readonly layouts: Layouts;
  layout(value: Value): Layout;
  /** Constants with labelled axes, in the order of their first use. */
  readonly constants: readonly Value[];
  /** Constants of which the graph's outputs have channels. */
  readonly returned: ReadonlySet<Value>;
  /** Ops without a dependency rule, whose inputs were pinned. */
  readonly unknownOps: readonly string[];
}

class Sweep extends Layouts implements DependencyContext {
  readonly known = new Map<Value, Layout>();
  readonly constants: Value[] = [];

  layout(value: Value | undefined): Layout {
    if (!value) return [];
    let layout = this.known.get(value);
    if (!layout) {
      layout = this.#initial(value);
      this.known.set(value, layout);
    }
    return layout;
  }

  /** The constants that share labels, which are free as yet, with some values. */
  constantsOf(values: readonly Value[]): Set<Value> {
    const rootsOf = (value: Value) =>
      this.layout(value).flatMap(({ labels }) => Array.from(labels, (label) => this.labels.find(label)));
    const roots = new Set(values.flatMap(rootsOf).filter((root) => !this.labels.isPinned(root)));
    return new Set(this.constants.filter((value) => rootsOf(value).some((root) => roots.has(root))));
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
  for (const node of graph.nodes) {
    const rule = rowOf(dependencyRules, node) as DependencyRule<OpArguments[OpName]> | undefined;
    const known = rule && hasShapes(node) && subgraphs(node).length === 0;
    if (!rule) unknownOps.add(node.op);
    const layouts = known ? applied(rule, node, sweep) : pinInputs(node, sweep);
    node.outputs.forEach((output, i) => {
      if (output) sweep.known.set(output, floats.has(output.dtype ?? '') ? (layouts[i] ?? []) : []);
    });
    for (const captured of capturedValues(node)) sweep.pin(sweep.layout(captured));
  }
  const returned = sweep.constantsOf(graph.outputs);
  for (const output of graph.outputs) sweep.pin(sweep.layout(output));
  return {
    returned,
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
