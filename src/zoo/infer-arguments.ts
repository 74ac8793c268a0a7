import { UserError } from '../common/errors.ts';
import type { Graph } from '../graph/graph.ts';
import { parameters } from '../graph/parameters.ts';
import { buildModel } from './model.ts';
import type { ModelArgs } from './model-args.ts';
import { architectureOf, blocksOf } from './model-family.ts';
import { modelInfo } from './model-info.ts';
import { zeroParameters } from './parameter-source.ts';
import { shapesOf, stateDict } from './state.ts';

/**
 * The constructor arguments over those of its architecture with which timm builds a model of this
 * graph's parameter names, shapes and heads; undefined when no arguments do (blocks of different
 * widths, weights that are not float32, a graph from elsewhere).
 */
export function inferModelArgs(graph: Graph): ModelArgs | undefined {
  const architecture = architectureOf(graph);
  const state = parameters(graph);
  if (!architecture || !state.length || state.some(({ dtype }) => dtype !== 'float32')) return undefined;
  const { modelArgs, preprocessing, numClasses } = modelInfo(graph);
  const headless = !architecture.classifier.some((module) => graph.constants.has(`${module}.weight`));
  const build = (args: ModelArgs) =>
    buildModel(
      {
        architecture: architecture.name,
        modelArgs: args,
        preprocessing,
        numClasses: headless ? 0 : numClasses,
      },
      zeroParameters,
    );
  const given = { ...modelArgs, ...(headless ? { num_classes: 0 } : {}) };
  if (sameModel(graph, build(given))) return given;
  const facts = { state: shapesOf(stateDict(graph)), blocks: blocksOf(graph) };
  const args = architecture.family.inferArgs?.(facts, given);
  return args && makes(() => build(args), graph) ? args : undefined;
}

/** Whether a build makes this model; arguments that the class refuses make none. */
function makes(build: () => Graph, graph: Graph): boolean {
  try {
    return sameModel(graph, build());
  } catch (error) {
    if (error instanceof UserError) return false;
    throw error;
  }
}

/** The same operations, over parameters of the same names and shapes, in blocks with the same heads. */
function sameModel(a: Graph, b: Graph): boolean {
  const facts = (graph: Graph) => {
    const shapes = [...stateDict(graph)].map(([name, { shape }]) => `${name} [${shape}]`);
    const heads = blocksOf(graph).map(({ name, numHeads, headDim }) => `${name} ${numHeads} x ${headDim}`);
    return JSON.stringify([shapes.sort(), heads.sort(), graph.nodes.map(({ op }) => op)]);
  };
  return facts(a) === facts(b);
}
