import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { noise, parameterNoise } from '../../test/noise.ts';
import type { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { buildModel } from '../zoo/model.ts';
import { findGroups } from './groups.ts';
import { type Importance, scoredParameters, scoreGroups } from './importance.ts';
import { type Plan, type PlanOptions, planPruning } from './plan.ts';
import { axisCurvatures, summedGradients } from './sensitivity.ts';

interface Golden {
  classes: number;
  labels: number[];
  models: Record<string, { args: Record<string, unknown>; gone: Record<string, Record<string, string>> }>;
}

/** What Torch-Pruning takes out, as conformance/check_prune.py --write-golden wrote it. */
const golden: Golden = JSON.parse(
  readFileSync(new URL('golden/torch-pruning.json', import.meta.url).pathname, 'utf8'),
);
const { classes, labels } = golden;

async function* images(size: number, batchSize: number, count: number) {
  const shape = [labels.length, 3, size, size];
  const pixels = Float32Array.from(noise('pixels', shape));
  const image = 3 * size * size;
  for (let start = 0; start < count; start += batchSize) {
    const end = start + batchSize;
    yield {
      pixels: Tensor.float32([batchSize, 3, size, size], pixels.slice(start * image, end * image)),
      labels: Tensor.int64(labels.slice(start, end)),
    };
  }
}

/** The outputs of a layer that a plan takes: bit i of a hexadecimal number for the one of index i. */
function bitsGone(plan: Plan, layer: string): string {
  let bits = 0n;
  for (const [{ slices }, units] of plan) {
    const slice = slices.find(({ parameter, axis }) => parameter.name === `${layer}.weight` && axis === 0);
    const gone = new Set(units);
    slice?.units.forEach((unit, i) => {
      if (gone.has(unit)) bits |= 1n << BigInt(i);
    });
  }
  return bits.toString(16);
}

/** `taylor uniform 0.25`, `l1 heads 0.5` */
function optionsOf(name: string): { importance: Importance; options: PlanOptions } {
  const [importance, ranking, ratio] = name.split(' ') as [Importance, 'heads' | 'uniform', string];
  const options = ranking === 'heads' ? { heads: Number(ratio) } : { ranking, ratio: Number(ratio) };
  return { importance, options };
}

async function sensitivitiesFor(graph: Graph, size: number, importance: Importance) {
  const wanted = scoredParameters(findGroups(graph, { headDims: 'tied' }).groups);
  if (importance === 'taylor')
    return summedGradients(onnxruntime, graph, wanted, images(size, 2, labels.length));
  // Torch-Pruning keeps the last sample only, so the Hessian is compared on one.
  if (importance === 'hessian') return axisCurvatures(onnxruntime, graph, wanted, images(size, 1, 1));
  return undefined;
}

describe.each(Object.entries(golden.models))(
  'of %s the channels go that Torch-Pruning takes',
  (architecture, { args, gone }) => {
    const graph = buildModel({ architecture, modelArgs: args as never, numClasses: classes }, parameterNoise);
    const { groups } = findGroups(graph, { headDims: 'tied' });
    const names = Object.keys(gone);
    const importances = [...new Set(names.map((name) => optionsOf(name).importance))];

    it.each(importances)('%s', async (importance) => {
      const sensitivities = await sensitivitiesFor(graph, args.img_size as number, importance);
      const scores = await scoreGroups(onnxruntime, groups, { importance, sensitivities });
      for (const name of names.filter((one) => optionsOf(one).importance === importance)) {
        const plan = planPruning(groups, scores, optionsOf(name).options);
        const layers = Object.keys(gone[name]!);
        const found = Object.fromEntries(layers.map((layer) => [layer, bitsGone(plan, layer)]));
        expect({ name, gone: found }).toEqual({ name, gone: gone[name] });
      }
    });
  },
);
