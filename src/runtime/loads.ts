import { UserError } from '../common/errors.ts';
import type { Graph } from '../graph/graph.ts';
import { storedBytes } from '../graph/tensor.ts';
import { weightBytes } from '../onnx/write.ts';
import { type Engine, withoutPacking } from './session.ts';

/** Of a model with more weights than that only the structure is loaded: types, shapes, and a kernel for every op. */
const wholeBelow = 1 << 28;
/** Lengths, axes and scales stay constants: kernels want to see them beforehand. */
const largeWeight = 1 << 16;

/**
 * Loads a model, as whoever is given it will: what the engine can't load is of no use to anyone.
 * @param what the model is to become, for the message
 * @throws UserError with the engine's words, which name the node
 */
export async function assertLoads(engine: Engine, model: Graph, what: string): Promise<void> {
  const large = weightBytes(model) > wholeBelow;
  try {
    const session = await engine.load(large ? withWeightsGiven(model) : model, {
      ...withoutPacking,
      ...(large ? { optimization: 'disabled' } : {}),
    });
    await session.dispose();
  } catch (error) {
    throw new UserError(`${what}: ${(error as Error).message}`);
  }
}

/** A copy that takes its large weights as inputs. */
function withWeightsGiven(model: Graph): Graph {
  const { graph } = model.clone();
  for (const value of [...graph.constants.values()]) {
    const { dtype, shape } = value.tensor!;
    if (storedBytes(dtype, shape) >= largeWeight && !graph.inputs.includes(value))
      graph.constantToInput(value);
  }
  return graph;
}
