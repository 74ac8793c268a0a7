import { describe, expect, it } from 'vitest';
import { checkGraph } from '../graph/check.ts';
import { parameters } from '../graph/parameters.ts';
import { zeroParameters } from './parameter-source.ts';
import {
  buildArchitecture,
  completeArgs,
  findArchitecture,
  knownArchitecture,
  modelNames,
} from './registry.ts';
import { stateHash } from './state-hash.ts';
import { timmModels } from './timm-models.ts';

describe('registry', () => {
  it('builds every supported name with the parameters timm has', async () => {
    const names = modelNames();
    expect(names.length).toBeGreaterThanOrEqual(173);
    for (const name of names) {
      const architecture = findArchitecture(name);
      const graph = buildArchitecture(architecture, completeArgs(architecture), zeroParameters);
      const state = parameters(graph);
      expect(checkGraph(graph), name).toEqual([]);
      expect(await stateHash(graph), name).toBe(architecture.stateHash);
      expect(state.length, name).toBe(architecture.tensorCount);
      const count = state.reduce((sum, { tensor }) => sum + tensor!.size, 0);
      expect(count, name).toBe(architecture.parameterCount);
    }
  });

  it('suggests names for a misspelt one', () => {
    expect(() => findArchitecture('deit_base_patch61_224')).toThrow(/did you mean deit_base_patch16_224/);
    expect(() => findArchitecture('resnet50')).toThrow(/unknown architecture "resnet50"/);
  });

  const unbuilt = Object.keys(timmModels().models).find((name) => !knownArchitecture(name));
  it.skipIf(!unbuilt)('names the family of an architecture without a builder', () => {
    const [module] = timmModels().models[unbuilt!]!.class.split('.');
    expect(() => findArchitecture(unbuilt!)).toThrow(`timm's ${module} family, which is not built yet`);
  });

  it('takes a name with a pretrained tag', () => {
    expect(findArchitecture('deit_base_patch16_224.fb_in1k').name).toBe('deit_base_patch16_224');
  });
});
