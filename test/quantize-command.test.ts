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
    expect(stdout).toMatch(/^all of them +1,131,776 /m);
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
