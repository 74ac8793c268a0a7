import { describe, expect, it } from 'vitest';
import { Random } from '../common/random.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import type { Engine, SessionOptions } from '../runtime/session.ts';
import { initModel } from '../zoo/model.ts';
import type { Images } from './accumulate.ts';
import { findGroups } from './groups.ts';
import { scoredParameters, scoreGroups } from './importance.ts';
import { inputNorms } from './input-norms.ts';
import { axisCurvatures, meanSquaredGradients, summedGradients } from './sensitivity.ts';

const graph = initModel(
  {
    architecture: 'vit_tiny_patch16_224',
    modelArgs: { img_size: 128, embed_dim: 24, depth: 4, num_heads: 3, num_classes: 5 },
  },
  1,
);
const { groups } = findGroups(graph);
const wanted = scoredParameters(groups);

async function* batches(): AsyncGenerator<Images> {
  const random = new Random(4);
  for (const count of [16, 5]) {
    const pixels = Float32Array.from({ length: count * 3 * 128 * 128 }, () => random.normal());
    const labels = Array.from({ length: count }, (_, i) => i % 5);
    yield { pixels: Tensor.float32([count, 3, 128, 128], pixels), labels: Tensor.int64(labels) };
  }
}

/** The engine, and how it is used. */
function watched() {
  const seen: { images: number[]; sessions: SessionOptions[]; nodes: number } = {
    images: [],
    sessions: [],
    nodes: 0,
  };
  const engine: Engine = {
    name: onnxruntime.name,
    async load(model, options = {}) {
      seen.sessions.push(options);
      if (typeof model === 'object' && 'nodes' in model) seen.nodes = model.nodes.length;
      const session = await onnxruntime.load(model, options);
      return {
        ...session,
        run(feeds, fetches) {
          seen.images.push(Object.values(feeds)[0]!.shape[0]!);
          return session.run(feeds, fetches);
        },
        dispose: () => session.dispose(),
      };
    },
  };
  return { engine, seen };
}

const ways = { summedGradients, meanSquaredGradients, axisCurvatures, inputNorms };

/** What the error about too little memory names, in bytes. */
async function leastOf(way: (typeof ways)[keyof typeof ways]): Promise<number> {
  const error = await way(onnxruntime, graph, wanted, batches(), { memory: 1000 }).catch((one) => one);
  expect(error.name).toBe('UserError');
  const [, least] = /^memory 0 GB is too little for this importance: it needs about ([\d.]+) GB$/.exec(
    error.message,
  )!;
  return Number(least) * 1e9;
}

describe.each(Object.entries(ways))('%s within some memory', (_, way) => {
  it('is the same but for rounding, some images at a time', async () => {
    const whole = await way(onnxruntime, graph, wanted, batches());
    const { engine, seen } = watched();
    const parts = await way(engine, graph, wanted, batches(), { memory: await leastOf(way) });
    expect(Math.max(...seen.images)).toBeLessThan(16);
    expect(seen.images.reduce((sum, count) => sum + count, 0)).toBe(21);
    expect(seen.sessions).toMatchObject([{ memoryArena: false }]);
    for (const parameter of whole.keys()) {
      const [a, b] = [whole, parts].map((found) => {
        const one = found.get(parameter)!;
        return one instanceof Tensor ? [one] : [...one.values()];
      });
      a!.forEach((tensor, i) => {
        const scale = tensor.floats.reduce((most, x) => Math.max(most, Math.abs(x)), 1e-20);
        tensor.floats.forEach((x, e) => {
          expect(Math.abs(x - b![i]!.floats[e]!) / scale).toBeLessThan(2e-4);
        });
      });
    }
  });

  it('goes in whole batches where there is enough', async () => {
    const { engine, seen } = watched();
    await way(engine, graph, wanted, batches(), { memory: 64e9 });
    expect(seen.images).toEqual([16, 5]);
  });
});

it('computes activations again where that needs less', async () => {
  const { engine, seen } = watched();
  await summedGradients(engine, graph, wanted, batches(), { memory: 64e9 });
  const plain = seen.nodes;
  await summedGradients(engine, graph, wanted, batches(), { memory: await leastOf(summedGradients) });
  expect(seen.nodes).toBeGreaterThan(plain);
});

it('sums of curvatures along an axis are those of the whole diagonal', async () => {
  const whole = await meanSquaredGradients(onnxruntime, graph, wanted, batches());
  const sums = await axisCurvatures(onnxruntime, graph, wanted, batches());
  const [a, b] = await Promise.all(
    [whole, sums].map((sensitivities) =>
      scoreGroups(onnxruntime, groups, { importance: 'hessian', sensitivities }),
    ),
  );
  a!.forEach((scores, i) => {
    scores.forEach((score, unit) => {
      expect(b![i]![unit]! / score).toBeCloseTo(1, 4);
    });
  });
});
