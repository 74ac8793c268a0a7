import { initModel as randomModel } from '../../zoo/model.ts';
import { saveTimm } from '../../zoo/save.node.ts';
import { type ModelSize, sizeOf } from './command.node.ts';

/** A timm-layout folder with random weights. @throws UserError on an unknown architecture or argument */
export async function initModel(
  architecture: string,
  output: string,
  options: { seed: number; numClasses?: number; modelArgs?: Record<string, unknown>; maxParameters?: number },
): Promise<ModelSize & { architecture: string; files: string[] }> {
  const { seed, numClasses, modelArgs, maxParameters } = options;
  const graph = randomModel({ architecture, numClasses, modelArgs }, seed, maxParameters);
  const files = saveTimm(graph, output);
  return { architecture, ...sizeOf(graph), files };
}
