import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { Random } from '../common/random.ts';
import { fromTimmConfig, toTimmConfig } from '../dataset/preprocessing.ts';
import type { Graph } from '../graph/graph.ts';
import { parameters } from '../graph/parameters.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { initModel } from '../zoo/model.ts';
import type { ModelArgs } from '../zoo/model-args.ts';
import { findArchitecture } from '../zoo/registry.ts';
import { prune } from './prune.ts';

/** A case of conformance/zoo: an architecture, and what makes it small. */
interface Case {
  name: string;
  args?: ModelArgs;
  /** `[C, H, W]`, for architectures that take no `img_size`. */
  input?: [number, number, number];
}

/** All cases of all families take some minutes; the first of each is enough for a change. */
const every = Boolean(process.env.PQV_ALL_FAMILIES);

const folder = fileURLToPath(new URL('../../conformance/zoo', import.meta.url));
const cases = readdirSync(folder).flatMap((file) => {
  const all = JSON.parse(readFileSync(join(folder, file), 'utf8')) as Case[];
  return (every ? all : all.slice(0, 1)).map((one, i) => ({
    ...one,
    title: `${basename(file, '.json')} ${i}`,
  }));
});

/** Every parameter random, biases and norms too, so that no term vanishes. */
function randomModel({ name, args = {}, input }: Case): Graph {
  const { preprocessing } = findArchitecture(name);
  const size = input && {
    preprocessing: fromTimmConfig({ ...toTimmConfig(preprocessing), input_size: input }, name),
  };
  const graph = initModel({ architecture: name, modelArgs: args, ...size }, 1);
  const random = new Random(5);
  for (const value of parameters(graph)) {
    if (value.dtype !== 'float32' || value.shape!.length !== 1) continue;
    const numbers = value.tensor!.floats.map((x) => x + 0.2 * Math.abs(random.normal()));
    graph.setConstant(value, Tensor.float32(value.staticShape, numbers));
  }
  return graph;
}

const ways = [
  { ratio: 0.3, headDims: 'free', heads: 0.3 },
  { ratio: 0.5, headDims: 'tied' },
  { ratio: 0.5, headDims: 'free', bottleneck: true, global: true },
] as const;

describe('what is left of a model is the model with what went masked', () => {
  it.each(cases)(
    '$title: $name $args',
    async (one) => {
      const graph = randomModel(one);
      for (const options of every ? ways : ways.slice(0, 1)) {
        const { check } = await prune(onnxruntime, graph, { ...options, importance: 'random', seed: 3 });
        expect(check).toMatchObject({ unchecked: [] });
        expect(check!.relative).toBeLessThan(1e-4);
      }
    },
    60_000,
  );
});
