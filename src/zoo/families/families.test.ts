import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { fromTimmConfig, toTimmConfig } from '../../dataset/preprocessing.ts';
import { checkGraph } from '../../graph/check.ts';
import { parameters } from '../../graph/parameters.ts';
import { Tensor } from '../../graph/tensor.ts';
import type { Graph } from '../../graph/types.ts';
import { onnxruntime } from '../../runtime/onnxruntime.node.ts';
import { runOnce } from '../../runtime/session.ts';
import { loadModel } from '../load.node.ts';
import { initModel, type ModelConfig } from '../model.ts';
import type { ModelArgs } from '../model-args.ts';
import { zeroParameters } from '../parameter-source.ts';
import { buildArchitecture, completeArgs, findArchitecture, modelNames } from '../registry.ts';
import { saveTimm } from '../save.node.ts';
import { stateDict } from '../state.ts';
import { stateHash } from '../state-hash.ts';
import { families } from './index.ts';

/** A case of conformance/zoo: an architecture, and what makes it small. */
interface Case {
  name: string;
  args?: ModelArgs;
  /** `[C, H, W]`, for architectures that take no `img_size`. */
  input?: [number, number, number];
}

const folder = fileURLToPath(new URL('../../../conformance/zoo', import.meta.url));
const files = readdirSync(folder).map((name) => ({
  family: basename(name, '.json'),
  cases: JSON.parse(readFileSync(join(folder, name), 'utf8')) as Case[],
}));

const root = mkdtempSync(join(tmpdir(), 'families-'));
afterAll(() => rmSync(root, { recursive: true }));

describe.each(families)('$name', (family) => {
  it('builds every name with the state dict timm has', async () => {
    const names = modelNames(family);
    expect(names.length).toBeGreaterThan(0);
    for (const name of names) {
      const architecture = findArchitecture(name);
      const graph = buildArchitecture(architecture, completeArgs(architecture), zeroParameters);
      expect(checkGraph(graph), name).toEqual([]);
      expect(await stateHash(graph), name).toBe(architecture.stateHash);
      expect(stateDict(graph).size, name).toBe(architecture.tensorCount);
      const count = parameters(graph).reduce((sum, { tensor }) => sum + tensor!.size, 0);
      expect(count, name).toBe(architecture.parameterCount);
    }
  });

  it('has cases in conformance/zoo', () => {
    expect(files.map((file) => file.family)).toContain(family.name);
  });
});

function modelConfig({ name, args = {}, input }: Case): ModelConfig {
  const { preprocessing } = findArchitecture(name);
  return {
    architecture: name,
    modelArgs: args,
    ...(input
      ? { preprocessing: fromTimmConfig({ ...toTimmConfig(preprocessing), input_size: input }, name) }
      : {}),
  };
}

async function outputOf(graph: Graph, images: Tensor): Promise<Tensor> {
  const { logits } = await runOnce(onnxruntime, graph, { pixel_values: images });
  return logits!;
}

const largest = (values: Float32Array) => values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);

describe.each(files)('cases of $family', ({ family, cases }) => {
  it.each(cases)('$name $args: two images are two, and the folder is the model', async (one) => {
    const graph = initModel(modelConfig(one), 1);
    expect(findArchitecture(one.name).family.name).toBe(family);
    expect(checkGraph(graph)).toEqual([]);
    const shape = graph.inputs[0]!.shape!.slice(1) as number[];
    const size = shape.reduce((product, dim) => product * dim, 1);
    const data = Float32Array.from({ length: 2 * size }, (_, i) => Math.sin(i * 0.37));
    const both = await outputOf(graph, Tensor.float32([2, ...shape], data));
    const second = await outputOf(graph, Tensor.float32([1, ...shape], data.slice(size)));
    const scale = largest(both.floats);
    expect(scale).toBeGreaterThan(0);
    const apart = both.floats.subarray(both.size / 2).map((x, i) => x - second.floats[i]!);
    expect(largest(apart) / scale).toBeLessThan(1e-4);

    const path = join(root, `${one.name}-${cases.indexOf(one)}`);
    saveTimm(graph, path);
    const loaded = await loadModel(path);
    rmSync(path, { recursive: true });
    expect(await stateHash(loaded)).toBe(await stateHash(graph));
    expect((await outputOf(loaded, Tensor.float32([2, ...shape], data))).floats).toEqual(both.floats);
  });
});
