import { expect, it } from 'vitest';
import { onnxruntime, onnxruntimeOn } from './onnxruntime.node.ts';
import { providers } from './provider.ts';

it('a provider that the build does not have is refused, with those that it has', async () => {
  const ort = await import('onnxruntime-node');
  const built = ort.listSupportedBackends().map(({ name }) => name);
  expect(built).toContain('cpu');
  const missing = providers.filter((provider) => !built.includes(provider));
  expect(missing.length).toBeGreaterThan(0);
  for (const provider of missing) {
    expect(() => onnxruntimeOn(provider).name).toThrow(`not with ${provider}: take --provider cpu`);
  }
});

it('the engine is named by its provider where that is not the CPU', async () => {
  const ort = await import('onnxruntime-node');
  for (const { name } of ort.listSupportedBackends()) {
    const engine = onnxruntimeOn(name as (typeof providers)[number]);
    expect(engine.name).toBe(name === 'cpu' ? onnxruntime.name : `${onnxruntime.name}, ${name}`);
  }
});
