import { withoutGradient } from '../autodiff/backward.ts';
import { UserError } from '../common/errors.ts';
import { lowerGraph, withoutLowering } from '../export/torchscript/lower-graph.ts';
import type { Graph, Node, Value } from '../graph/graph.ts';
import { parameters } from '../graph/parameters.ts';
import { findGroups } from '../prune/groups.ts';
import { layersOf } from '../quantize/layer.ts';

/** An op that something can't be done with, or not around. */
export interface Obstacle {
  op: string;
  /** How many nodes of it there are. */
  nodes: number;
  /** The first of them. */
  first: string;
}

/** What can be done with a model, as the tables of the ops tell. */
export interface Capabilities {
  prune: {
    /** Groups of channels, head dimensions or heads that can lose some. */
    groups: number;
    /** Share of the parameters that have channels in one. */
    share: number;
    /** The channels that these read stay. */
    keptAround: Obstacle[];
  };
  /** Finetuning, and the importances that look at images; possible where nothing stands in the way. */
  train: { obstacles: Obstacle[] };
  int8: {
    /** Linear layers and convolutions that are in floating point. */
    layers: number;
    /** Share of the parameters that are weights of them. */
    share: number;
  };
  /** TorchScript and PyTorch Lite. ONNX and ORT files can be written of any model. */
  torchscript: { obstacles: Obstacle[]; refusal?: string };
}

/** @param graph with shapes inferred */
export function capabilities(graph: Graph): Capabilities {
  const trained = trainable(graph);
  const total = sizes(trained) || 1;
  const { groups, unknownOps } = findGroups(graph);
  const pruned = new Set(groups.flatMap(({ slices }) => slices.map(({ parameter }) => parameter)));
  const layers = layersOf(graph);
  return {
    prune: {
      groups: groups.length,
      share: sizes(trained.filter((value) => pruned.has(value))) / total,
      keptAround: byOp(graph.nodes.filter(({ op }) => unknownOps.includes(op))),
    },
    train: { obstacles: byOp(withoutGradient(graph, trained)) },
    int8: {
      layers: layers.length,
      share: sizes([...new Set(layers.map(({ weight }) => weight))]) / total,
    },
    torchscript: torchscript(graph),
  };
}

/** The parameters; of a graph that has none on record its float constants. */
function trainable(graph: Graph): Value[] {
  const recorded = parameters(graph);
  if (recorded.length) return recorded;
  return [...graph.constants.values()].filter(({ dtype }) => dtype?.startsWith('float'));
}

const sizes = (values: readonly Value[]): number => values.reduce((sum, { tensor }) => sum + tensor!.size, 0);

function torchscript(graph: Graph): Capabilities['torchscript'] {
  const obstacles = byOp(withoutLowering(graph));
  if (obstacles.length) return { obstacles };
  try {
    lowerGraph(graph);
    return { obstacles };
  } catch (error) {
    if (error instanceof UserError) return { obstacles, refusal: error.message };
    throw error;
  }
}

function byOp(nodes: readonly Node[]): Obstacle[] {
  const found = new Map<string, Obstacle>();
  for (const { op, label } of nodes) {
    const known = found.get(op);
    if (known) known.nodes++;
    else found.set(op, { op, nodes: 1, first: label });
  }
  return [...found.values()];
}
