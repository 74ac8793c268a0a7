import { UserError } from '../common/errors.ts';
import { type Progress, silent } from '../common/progress.ts';
import { Builder } from '../graph/builder.ts';
import { Graph, type Value } from '../graph/graph.ts';
import { replaceValue } from '../graph/replace.ts';
import type { Tensor } from '../graph/tensor.ts';
import type { Engine, Session } from '../runtime/session.ts';
import { numbersOf } from './backends.ts';
import { roundedToFour } from './block-activation.ts';
import { roundBlocks } from './block-weight.ts';
import { isConvolution, type Layer } from './layer.ts';
import { layersToQuantize, replaceLayers } from './layers.ts';
import type { MigrationGrid } from './migrate.ts';
import { PackedWeights } from './packed-weights.ts';
import { assertFullPrecision, recordQuantization } from './record.ts';
import { columnsOf } from './weight-rounding.ts';

export interface Int4Options {
  /** Numbers that share a scale, a power of two from 16 to 256. */
  blockSize?: number;
  /** What is multiplied: floats, or what rounds each block of the activations to 8 bits as well (W4A8), or to 4 (W4A4). */
  activations?: BlockActivations;
  /** Weights to leave in float32, as patterns of their names (`head.*`). */
  ignore?: readonly string[];
  progress?: Progress;
}

/** What activations of int4 layers are multiplied as. */
export const blockActivations = ['float32', 'int8', 'int4'] as const;
export type BlockActivations = (typeof blockActivations)[number];

/** What factors between channels are chosen for (`migrateScales`). */
export const int4Grid = (blockSize: number, activations: BlockActivations): MigrationGrid => ({
  block: blockSize,
  activations: { float32: Number.POSITIVE_INFINITY, int8: 255, int4: 15 }[activations],
  weights: 7.5,
});

/** `accuracy_level` of the operator: the least that it rounds activations to itself. It has no level for 4 bits. */
const accuracyLevels = { float32: 1, int8: 4, int4: 1 } as const;

/**
 * A copy of the graph in which every Linear has weights of four bits, `com.microsoft.MatMulNBits`, and every convolution a
 * kernel stored in int8 (see `quantizeDynamic`). Weights take an eighth of their bytes, and a float32 for each block.
 * @throws UserError when the model is quantized already, has no Linear to quantize, or weights that are no numbers
 */
export async function quantizeInt4(
  engine: Engine,
  source: Graph,
  { blockSize = 32, activations = 'float32', ignore = [], progress = silent }: Int4Options = {},
): Promise<Graph> {
  assertFullPrecision(source);
  const { graph } = source.clone();
  const { layers, ignored } = layersToQuantize(graph, { ignore });
  const linear = layers.filter((layer) => !isConvolution(layer));
  if (linear.length === 0) throw new UserError('int4 is for linear layers, and there are none: take int8');
  const numbers = numbersOf({});
  const { kept } = await replaceLayers(
    ...([engine, graph, layers.filter(isConvolution)] as const),
    { scheme: 'dynamic', numbers, progress },
    () => {
      throw new Error('a convolution that multiplies floats is written by the caller');
    },
  );
  const squares = await replaceLinears(engine, graph, linear, { blockSize, activations, progress });
  const relative = squares.weight > 0 ? Math.sqrt(squares.error / squares.weight) : 0;
  recordQuantization(graph, {
    ...{ dtype: 'int4', blockSize, activations, weightError: { relative, plain: relative }, ignored },
    tooUneven: kept.length ? kept : undefined,
  });
  return graph;
}

async function replaceLinears(
  engine: Engine,
  graph: Graph,
  layers: readonly Layer[],
  { blockSize, activations, progress }: Required<Omit<Int4Options, 'ignore'>>,
): Promise<{ weight: number; error: number }> {
  const sessions = new Map<string, Session>();
  const packed = new PackedWeights(graph, 'int4');
  const inFour = new Map<Value, Value>();
  const squares = { weight: 0, error: 0 };
  const task = progress.task('Quantizing', layers.length, 'layers');
  try {
    for (const [done, layer] of layers.entries()) {
      const { weight, layout, output, product, bias } = layer;
      const pack = await packed.of(weight, layout, async () => {
        const made = await rounded(engine, sessions, layer, blockSize);
        squares.weight += made.squares.floats[0]!;
        squares.error += made.squares.floats[1]!;
        return { values: made.packed, scale: made.scale };
      });
      const b = new Builder(graph, product);
      const [first, second] = weight.staticShape as [number, number];
      const [N, K] = layout === 'in,out' ? [second, first] : [first, second];
      const attributes = {
        K,
        N,
        bits: 4,
        block_size: blockSize,
        accuracy_level: accuracyLevels[activations],
      };
      const exact = product.input(0);
      const input =
        activations === 'int4' ? (inFour.get(exact) ?? roundedToFour(b, exact, blockSize)) : exact;
      if (activations === 'int4') inFour.set(exact, input);
      const operands = [input, pack!.values, pack!.scale];
      const result = b.op('com.microsoft.MatMulNBits', operands, attributes);
      replaceValue(graph, output, bias ? b.op('Add', [result, bias]) : result);
      task.update(done + 1);
    }
  } finally {
    task.done();
    for (const session of sessions.values()) await session.dispose();
  }
  packed.finish();
  return squares;
}

/** A weight in blocks, and the sums of squares of it and of what changes. @throws UserError when it has values that are no numbers */
async function rounded(
  engine: Engine,
  sessions: Map<string, Session>,
  { weight, layout }: Layer,
  blockSize: number,
): Promise<{ packed: Tensor; scale: Tensor; squares: Tensor }> {
  const key = `${layout} ${weight.staticShape}`;
  let session = sessions.get(key);
  if (!session) {
    session = await engine.load(roundingGraph(weight, layout, blockSize), { optimization: 'disabled' });
    sessions.set(key, session);
  }
  const { packed, scale, squares } = await session.run({ weight: weight.tensor! });
  if (!Number.isFinite(squares!.floats[0])) {
    throw new UserError(`weight ${weight.name} has values that are infinite or not a number`);
  }
  return { packed: packed!, scale: scale!, squares: squares! };
}

function roundingGraph(weight: Value, layout: Layer['layout'], blockSize: number): Graph {
  const graph = new Graph('round to blocks');
  const b = new Builder(graph);
  const given = graph.addInput('weight', 'float32', weight.staticShape);
  const [columns, [inputs, out]] = columnsOf(b, given, layout);
  const rows = b.op('Transpose', [columns], { perm: [1, 0] });
  const { packed, scale, restored, exact } = roundBlocks(b, rows, [out, inputs], blockSize);
  const squares = [exact, b.op('Sub', [restored, exact])].map((value) =>
    b.op('Reshape', [b.op('ReduceSumSquare', [value], { keepdims: 0 }), b.ints([1])]),
  );
  graph.outputs.push(
    b.op('Identity', [packed], {}, 'packed'),
    b.op('Identity', [scale], {}, 'scale'),
    b.op('Concat', squares, { axis: 0 }, 'squares'),
  );
  return graph;
}
