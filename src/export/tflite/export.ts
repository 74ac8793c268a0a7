import type { Graph } from '../../graph/graph.ts';
import { optimizeForTorch } from '../../optimize/optimize-for-torch.ts';
import type { Engine } from '../../runtime/session.ts';
import { lowerGraph, singleImage } from './lower-graph.ts';
import { encodeTflite } from './write.ts';

/**
 * The graph as a `.tflite` file for one image `[1, H, W, C]`: float32 numbers throughout; int8 weights of a dynamically
 * quantized model stay int8, float16 ones float16.
 * @throws UserError naming op and node when an op has no LiteRT form, or the file would be larger than 2 GB
 */
export async function exportTflite(engine: Engine, graph: Graph): Promise<Uint8Array> {
  return encodeTflite(lowerGraph(await optimizeForTorch(engine, singleImage(graph))));
}
