import { describe, expect, it } from 'vitest';
import { findArchitecture, knownArchitecture, modelNames } from './registry.ts';
import { timmModels } from './timm-models.ts';

describe('registry', () => {
  it('knows all names of the table', () => {
    expect(Object.keys(timmModels().models)).toHaveLength(596);
    expect(modelNames().length).toBeGreaterThanOrEqual(173);
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
