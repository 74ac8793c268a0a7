import { existsSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { loadModel } from '../src/zoo/load.node.ts';
import { saveModel } from '../src/zoo/save.node.ts';
import { pqv, scratch } from './command.ts';

const at = scratch();
const model = 'examples/cifar10_vit';

/** One channel of a norm times 1000, which nothing undoes. */
beforeAll(async () => {
  const graph = await loadModel(model);
  for (const parameter of ['weight', 'bias']) {
    graph.constants.get(`blocks.2.norm1.${parameter}`)!.tensor!.floats[9]! *= 1000;
  }
  saveModel(graph, at('sabotaged'));
});

describe('pqv quantize checks itself', () => {
  it('and says how near it is', async () => {
    const { stdout, code } = await pqv('quantize', model, '-o', at('int8'));
    expect(code).toBe(0);
    expect(stdout).toMatch(/^on noise the outputs are \d\.\d\d % from FP32's$/m);
    const { check } = JSON.parse((await pqv('quantize', model, '-o', at('int8'), '--json')).stdout);
    expect(check.warnings).toEqual([]);
    expect(Object.keys(check.layers)).toContain('blocks.1.mlp.fc2.weight');
  });

  it('refuses a collapsed model, names the layer and writes nothing', async () => {
    const { code, stderr } = await pqv('quantize', at('sabotaged'), '-o', at('refused'));
    expect({ code, exists: existsSync(at('refused')) }).toEqual({ code: 2, exists: false });
    expect(stderr).toMatch(/collapses in int8: .*blocks\.2\.attn\.qkv\.weight .*channel 9 .*--force/);
  });

  it('but for --force', async () => {
    const { code, stderr } = await pqv('quantize', at('sabotaged'), '-o', at('written'), '--force');
    expect({ code, exists: existsSync(at('written', 'model.onnx')) }).toEqual({ code: 0, exists: true });
    expect(stderr).toMatch(/written because of --force, but of no use: .*blocks\.2\.attn\.qkv\.weight/);
  });

  it('leaves out what collapses', async () => {
    const { code, stdout } = await pqv(
      'quantize',
      model,
      '-o',
      at('kept'),
      '--ignore',
      '*.2.attn.qkv.weight',
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(/^left in float32: blocks\.2\.attn\.qkv\.weight$/m);
  });
});

describe('pqv sensitivity', () => {
  it('ranks the layer with the outlier first, on noise', async () => {
    const { code, stdout } = await pqv('sensitivity', at('sabotaged'), '--samples', '4');
    expect(code).toBe(0);
    expect(stdout.split('\n')[2]).toMatch(/^blocks\.2\.attn\.qkv\.weight +49,152 +\d+\.\d\d % +\d/);
    expect(stdout).toMatch(/^all of them +1,137,920 /m);
    expect(stdout).toMatch(/on 4 images of noise$/m);
  });

  it('counts predictions with data', async () => {
    const args = ['--data', 'mnist', '--samples', '8', '--ignore', 'head.*', '--json'];
    const { code, stdout } = await pqv('sensitivity', 'examples/mnist_vit', ...args);
    expect(code).toBe(0);
    const { layers, all, samples } = JSON.parse(stdout);
    expect({ samples, labelled: typeof all.drop }).toEqual({ samples: 8, labelled: 'number' });
    expect(layers.map(({ layer }: { layer: string }) => layer)).not.toContain('head.weight');
  });
});

describe('pqv quantize of a model with outliers', () => {
  /** Each norm has one channel times 200, which the next weight undoes: the same function. */
  beforeAll(async () => {
    const graph = await loadModel('examples/mnist_vit');
    const floats = (name: string) => graph.constants.get(name)!.tensor!.floats;
    for (const name of graph.constants.keys()) {
      const norm = /^(blocks\.\d+\.norm[12])\.weight$/.exec(name)?.[1];
      if (!norm) continue;
      floats(`${norm}.weight`)[5]! *= 200;
      floats(`${norm}.bias`)[5]! *= 200;
      const next = norm.replace('norm1', 'attn.qkv').replace('norm2', 'mlp.fc1');
      const { shape } = graph.constants.get(`${next}.weight`)!.tensor!;
      for (let i = 5; i < shape[0]! * shape[1]!; i += shape[1]!) floats(`${next}.weight`)[i]! /= 200;
    }
    saveModel(graph, at('outliers'));
  });

  const dropping = ['--data', 'mnist', '--drop-samples', '200'];

  it('warns, and --preset accurate puts them into the weights', async () => {
    const fast = await pqv('quantize', at('outliers'), '-o', at('fast'), '--force', '--json');
    expect(fast.stderr).toMatch(
      /^warning: int8 changes the outputs of blocks\.\d\..* channel 5 of its inputs/m,
    );
    const preset = ['--preset', 'accurate', '--json'];
    const accurate = await pqv('quantize', at('outliers'), '-o', at('accurate'), ...preset);
    expect(accurate.stderr).not.toMatch(/^warning:/m);
    const [before, after] = [fast, accurate].map(({ stdout }) => JSON.parse(stdout));
    expect(after.check.relative).toBeLessThan(before.check.relative / 4);
    expect(after).toMatchObject({
      biasCorrected: true,
      migrated: expect.arrayContaining(['blocks.0.norm1.weight']),
    });
    const same = async (name: string) => {
      const data = ['--data', 'mnist', '--samples', '200', '--json'];
      return JSON.parse((await pqv('compare', at('outliers'), at(name), ...data)).stdout).agreement;
    };
    expect(await same('accurate')).toBeGreaterThan(0.97);
    expect(await same('fast')).toBeLessThan(await same('accurate'));
    const images = ['--scheme', 'static', '--samples', '32', '--data', 'mnist'];
    const calibrated = await pqv('quantize', at('outliers'), '-o', at('static'), ...preset, ...images);
    expect(calibrated.stderr).not.toMatch(/^warning:|no effect/m);
    const half = await pqv('quantize', at('outliers'), '-o', at('half'), '--migrate', '--dtype', 'fp16');
    expect(half).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/for int8 and int4: leave them out with fp16/),
    });
  });

  it('leaves the layers that suffer in float32, and names them', async () => {
    const args = ['quantize', at('outliers'), '-o', at('dropped'), ...dropping, '--drop-of', 'agreement'];
    const { code, stdout, stderr } = await pqv(...args, '--max-drop', '0.5', '--json');
    expect(code).toBe(0);
    const { drop, ignored } = JSON.parse(stdout);
    expect(drop.points).toBeLessThanOrEqual(0.5);
    expect(drop).toMatchObject({ allowed: 0.5, of: 'agreement', samples: 200 });
    expect(drop.kept.length).toBeGreaterThan(0);
    expect([...ignored].sort()).toEqual([...drop.kept].sort());
    expect(drop.kept[0]).toMatch(/^blocks\.\d\.(attn\.qkv|mlp\.fc1)\.weight$/);
    expect(stderr).toMatch(/int8: \d+\.\d\d points of agreement lost on 200 images/);
  });

  it('says what it needs', async () => {
    const args = ['quantize', 'examples/mnist_vit', '-o', at('nothing'), '--max-drop', '1'];
    expect(await pqv(...args)).toMatchObject({ code: 2, stderr: expect.stringMatching(/needs a data set/) });
    expect(await pqv(...args, '--dtype', 'fp16', ...dropping)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/does not go with fp16/),
    });
  });
});
