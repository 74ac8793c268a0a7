import { UserError } from '../../common/errors.ts';
import type { Progress } from '../../common/progress.ts';
import { Builder } from '../../graph/builder.ts';
import type { Graph, Value } from '../../graph/graph.ts';
import { type Linear, linears } from '../../graph/linear.ts';
import { subgraphs } from '../../graph/traversal.ts';
import { numbersOf } from '../../quantize/backends.ts';
import { dequantizedInput } from '../../quantize/beside.ts';
import { type BlockLinear, blockLinears } from '../../quantize/block-linear.ts';
import { quantizedLayers } from '../../quantize/match-quantized.ts';
import type { QuantizedLayer } from '../../quantize/quantized-layer.ts';
import { quantization } from '../../quantize/record.ts';
import { weightGrid } from '../../quantize/weight-grid.ts';
import type { Engine, Tensors } from '../../runtime/session.ts';
import { Walk } from '../../runtime/walk.ts';
import { RoundingLearner } from './layer-rounding.ts';
import { momentsOf } from './moments.ts';

/** What learning did to a layer: its outputs' error on the images, of their norm, before and after. */
export interface LearntLayer {
  readonly name: string;
  readonly before: number;
  readonly after: number;
}

/** A Linear in both models. */
interface Place {
  readonly layer: Linear;
  readonly quantized: QuantizedLayer | BlockLinear;
}

/**
 * Chooses anew, in the quantized graph given, which of the two whole numbers beside it each weight of a Linear becomes (AdaRound,
 * arXiv 2004.10568). Layer after layer, from what the quantized model, learnt so far, hands it, so that its outputs are nearest to
 * the float32 model's. Scales stay; pairs of int8 weights keep within their bound. The same for the same batches.
 *
 * Layers are taken as they read the same value; what layers read leaves the engine, a part of the model at a time (`Walk`). What
 * MatMulNBits itself rounds to 8 bits is taken as it was.
 *
 * @param source the float32 graph that it was made from
 * @param batches inputs by the model's input names; held, with what is read by what comes next
 * @throws UserError when the model has graphs within nodes (If, Loop)
 */
export async function learnRounding(
  engine: Engine,
  source: Graph,
  quantized: Graph,
  batches: readonly Tensors[],
  { steps, progress }: { steps: number; progress: Progress },
): Promise<LearntLayer[]> {
  const nested = source.nodes.find((node) => subgraphs(node).length > 0);
  if (nested) {
    throw new UserError(
      `learn-rounding runs a model in pieces, and can't go into ${nested.label}: leave it out`,
    );
  }
  const record = quantization(quantized)!;
  const numbers = numbersOf(record);
  const { graph: rounded, values: twins } = quantized.clone();
  const groups = placesByInput(source, rounded);
  const originals = new Map([...twins].map(([value, twin]) => [twin, value]));
  const reads = new Map<Value, Value>();
  const b = new Builder(rounded);
  for (const [{ quantized: layer }] of groups.values()) {
    b.before = layer.product;
    reads.set(layer.input, dequantizedInput(b, layer, record));
  }
  const walks = { exact: new Walk(engine, source, batches), rounded: new Walk(engine, rounded, batches) };
  const learner = new RoundingLearner(engine);
  const learnt: LearntLayer[] = [];
  const all = [...groups.values()].reduce((sum, places) => sum + places.length, 0);
  const task = progress.task('Learning to round', all * steps, 'steps');
  let done = 0;
  try {
    for (const [input, places] of groups) {
      const read = reads.get(places[0]!.quantized.input)!;
      const [x, y] = [await walks.exact.to([input]), await walks.rounded.to([read])];
      const pairs = x.map((exact, i) => ({ exact: exact[input.name]!, rounded: y[i]![read.name]! }));
      const moments = await momentsOf(engine, input.shape!.at(-1) as number, pairs);
      for (const { layer, quantized: place } of places) {
        const grid = await weightGrid(engine, layer, place, numbers.bounded);
        const figures = { layer: layer.weight.name };
        const told = () => task.update(++done, figures);
        const { integers, before, after } = await learner.learn(grid, moments, { steps, told });
        const tensor = grid.stored(integers);
        rounded.setConstant(place.weight, tensor);
        quantized.setConstant(originals.get(place.weight)!, tensor);
        learnt.push({ name: layer.weight.name, before, after });
        layer.weight.tensor!.release();
      }
    }
  } finally {
    task.done();
    await learner.dispose();
  }
  return learnt;
}

/** Quantized Linears, each weight once, by the value that they read in the float32 model, in order. */
function placesByInput(source: Graph, rounded: Graph): Map<Value, [Place, ...Place[]]> {
  const found = new Map<Value, [Place, ...Place[]]>();
  const layers = [...quantizedLayers(rounded), ...blockLinears(rounded)];
  const byOutput = new Map(layers.map((layer) => [layer.output.name, layer]));
  const seen = new Set<Value>();
  for (const layer of linears(source)) {
    const quantized = byOutput.get(layer.output.name);
    if (!quantized || seen.has(quantized.weight)) continue;
    seen.add(quantized.weight);
    const same = found.get(layer.input);
    const place = { layer, quantized };
    if (same) same.push(place);
    else found.set(layer.input, [place]);
  }
  return found;
}
