import type { Graph } from '../graph/graph.ts';
import { parameters } from '../graph/parameters.ts';
import { blockShapes } from './blocks-of.ts';
import { buildModel } from './model.ts';
import type { ModelArgs } from './model-args.ts';
import { modelInfo } from './model-info.ts';
import { zeroParameters } from './parameter-source.ts';

/**
 * The constructor arguments over those of its architecture with which timm builds a model of this
 * graph's parameter names, shapes and heads; undefined when no arguments do (blocks of different
 * widths, weights that are not float32, a graph from elsewhere).
 */
export function inferModelArgs(graph: Graph): ModelArgs | undefined {
  const { architecture, modelArgs, preprocessing, numClasses } = modelInfo(graph);
  const state = parameters(graph);
  if (!architecture || !state.length || state.some(({ dtype }) => dtype !== 'float32')) return undefined;
  const headless = !state.some(({ name }) => name === 'head.weight');
  const build = (args: ModelArgs) =>
    buildModel(
      { architecture, modelArgs: args, preprocessing, numClasses: headless ? 0 : numClasses },
      zeroParameters,
    );
  const given = { ...modelArgs, ...(headless ? { num_classes: 0 } : {}) };
  if (sameModel(graph, build(given))) return given;
  const blocks = blockShapes(graph);
  const { embedDim, numHeads, mlpHidden } = blocks[0] ?? {};
  if (!embedDim || !numHeads || !mlpHidden || embedDim % numHeads !== 0) return undefined;
  const args: ModelArgs = {
    ...given,
    embed_dim: embedDim,
    depth: blocks.length,
    num_heads: numHeads,
    mlp_ratio: ratioFor(embedDim, mlpHidden),
  };
  return sameModel(graph, build(args)) ? args : undefined;
}

/** A ratio for which timm's `int(width * ratio)` is `hidden`: the quotient, or the middle of what rounds to it. */
function ratioFor(width: number, hidden: number): number {
  const exact = hidden / width;
  return Math.trunc(width * exact) === hidden ? exact : (hidden + 0.5) / width;
}

/** The same operations, over parameters of the same names and shapes, in blocks with the same heads. */
function sameModel(a: Graph, b: Graph): boolean {
  const facts = (graph: Graph) => {
    const shapes = parameters(graph).map(({ name, shape }) => `${name} [${shape}]`);
    const heads = blockShapes(graph).map(({ name, numHeads, headDim }) => `${name} ${numHeads} x ${headDim}`);
    return JSON.stringify([shapes.sort(), heads.sort(), graph.nodes.map(({ op }) => op)]);
  };
  return facts(a) === facts(b);
}
