import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Random } from '../common/random.ts';
import { Builder } from '../graph/builder.ts';
import { checkGraph } from '../graph/check.ts';
import { Graph } from '../graph/graph.ts';
import { setParameters } from '../graph/parameters.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { initModel } from '../zoo/model.ts';
import { addDropPath, drawnPaths } from './drop-path.ts';
import { residualBlocks } from './residual-blocks.ts';
import { trainingStep } from './step.ts';
import { Trainer } from './trainer.ts';

const width = 3;
type Weights = readonly (readonly number[])[];
const start: Weights = [0, 1, 2].map((block) =>
  Array.from({ length: width * width }, (_, i) => Math.sin(2 * i + 3 * block)),
);

/** Three blocks `s + s W`, of parts of an image where there are several; the logits are the mean over those. */
function network(parts: number): Graph {
  const graph = new Graph('network');
  const b = new Builder(graph);
  let stream = graph.addInput('pixel_values', 'float32', ['N', parts * width]);
  stream = b.op('Reshape', [stream, b.ints([-1, width])]);
  const names = start.map((weights, i) => {
    const weight = graph.addConstant(`blocks.${i}.weight`, Tensor.float32([width, width], [...weights]));
    stream = b.op('Add', [stream, b.op('MatMul', [stream, weight])]);
    return weight.name;
  });
  const split = b.op('Reshape', [stream, b.ints([-1, parts, width])]);
  graph.outputs.push(b.op('ReduceMean', [split, b.ints([1])], { keepdims: 0 }));
  setParameters(graph, names);
  return graph;
}

/** The cross-entropy in float64. @param factors of each image in each block */
function lossOf(weights: Weights, images: number[][], targets: number[][], factors: number[][]): number {
  const losses = images.map((image, n) => {
    const parts = Array.from({ length: image.length / width }, (_, i) =>
      image.slice(i * width, (i + 1) * width),
    );
    const ends = parts.map((part) =>
      weights.reduce(
        (stream, weight, block) =>
          stream.map(
            (x, c) =>
              x + factors[block]![n]! * stream.reduce((sum, s, k) => sum + s * weight[k * width + c]!, 0),
          ),
        part,
      ),
    );
    const logits = ends[0]!.map((_, c) => ends.reduce((sum, end) => sum + end[c]!, 0) / ends.length);
    const total = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
    return logits.reduce((loss, logit, c) => loss - targets[n]![c]! * (logit - total), 0);
  });
  return losses.reduce((a, b) => a + b) / losses.length;
}

describe('drop path', () => {
  it.each([1, 2])(
    'scales what is left and leaves out the rest, image by image: loss and gradient in float64, %i parts an image',
    async (parts) => {
      const count = 8;
      const images = Array.from({ length: count }, (_, n) =>
        Array.from({ length: parts * width }, (_, i) => Math.cos(1.3 * n + i)),
      );
      const targets = images.map((_, n) => [0, 1, 2].map((c) => Number(c === n % 3)));
      const trainer = await Trainer.create(onnxruntime, network(parts), { dropPath: 0.5, optimizer: 'sgd' });
      const random = new Random(7);
      const draw = (keep: number) => images.map(() => (random.uniform() < keep ? 1 / keep : 0));
      const factors = [images.map(() => 1), draw(0.75), draw(0.5)];
      expect(new Set(factors.flat())).toEqual(new Set([1, 4 / 3, 2, 0]));
      const { loss, gradNorm } = await trainer.train(
        {
          pixels: Tensor.float32([count, parts * width], images.flat()),
          targets: Tensor.float32([count, 3], targets.flat()),
          random: new Random(7),
        },
        0.1,
        0,
      );
      expect(loss).toBeCloseTo(lossOf(start, images, targets, factors), 5);
      const slopes = start.flatMap((weight, block) =>
        weight.map((_, i) => {
          const moved = (by: number) => start.map((w, b) => (b === block ? w.with(i, w[i]! + by) : w));
          const [up, down] = [1e-5, -1e-5].map((by) => lossOf(moved(by), images, targets, factors));
          return (up! - down!) / 2e-5;
        }),
      );
      expect(gradNorm).toBeCloseTo(Math.hypot(...slopes), 4);
      await trainer.dispose();
    },
  );

  it.each(
    Object.entries(
      JSON.parse(readFileSync(new URL('timm-drop-path.json', import.meta.url), 'utf8')) as Record<
        string,
        number[]
      >,
    ),
  )('has the branches and the rates of timm: %s', (architecture, rates) => {
    const found = addDropPath(initModel({ architecture }), 0.3);
    expect(found.map(({ keep }) => Number((1 - keep).toFixed(6)))).toEqual(rates);
  });

  it('tells blocks by most of their parameters: names of other kinds change nothing', () => {
    const graph = new Graph('named');
    const b = new Builder(graph);
    let stream = graph.addInput('pixel_values', 'float32', ['N', 2]);
    const names: string[] = [];
    const constant = (name: string, shape: number[]) => {
      names.push(name);
      return graph.addConstant(name, Tensor.float32(shape, Array(shape.length * 2).fill(0.5)));
    };
    for (const place of ['stem.0.', 'a+(b).0.', 'a+(b).1.', 'a+(b).2.']) {
      const linear = b.op('MatMul', [
        b.op('Add', [stream, constant(`cat${names.length}`, [2])]),
        constant(`${place}fc.weight`, [2, 2]),
      ]);
      stream = b.op('Add', [stream, b.op('Mul', [linear, constant(`${place}gamma`, [2])])]);
    }
    graph.outputs.push(stream);
    setParameters(graph, names);
    expect(residualBlocks(graph).map((branches) => branches.length)).toEqual([1, 1, 1]);
  });

  it('leaves out as many as its rate says, and is a sound graph', () => {
    const paths = [{ input: 'a', keep: 0.8 }];
    const drawn = drawnPaths(paths, 20_000, new Random(1)).a!.floats;
    expect(drawn.filter((factor) => factor === 0).length / 20_000).toBeCloseTo(0.2, 1.7);
    expect(drawn.reduce((sum, factor) => sum + factor, 0) / 20_000).toBeCloseTo(1, 1.7);
    expect(checkGraph(trainingStep(network(2), { dropPath: 0.5 }).graph)).toEqual([]);
  });

  it('needs branches, and something to draw from', async () => {
    const plain = new Graph('plain');
    const b = new Builder(plain);
    const x = plain.addInput('pixel_values', 'float32', ['N', 2]);
    const weight = plain.addConstant('head.weight', Tensor.float32([2, 2], [1, 2, 3, 4]));
    plain.outputs.push(b.op('MatMul', [x, weight]));
    setParameters(plain, ['head.weight']);
    expect(() => trainingStep(plain, { dropPath: 0.1 })).toThrow(/0 blocks have none behind the first/);
    const trainer = await Trainer.create(onnxruntime, network(1), { dropPath: 0.5 });
    const [pixels, targets] = [Tensor.float32([1, 3], [1, 2, 3]), Tensor.float32([1, 3], [1, 0, 0])];
    await expect(trainer.train({ pixels, targets }, 0.1, 0)).rejects.toThrow(/draws at random/);
    await trainer.dispose();
  });
});
