import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { beforeAll, expect, it } from 'vitest';
import type { TimmModel } from '../src/zoo/timm-models.ts';
import { pqvOf, scratch } from './command.ts';
import { scratchCheckout } from './scratch-checkout.ts';

const at = scratch();

/** A family of its own folder: a convolution with its BatchNorm, layers of one Linear, a pool and a head. */
const plain = `
import { firstLength, measuredBlocks } from '../../blocks-of.ts';
import { readArguments } from '../../arguments.ts';
import type { Family } from '../../family.ts';
import { batchNorm, conv } from '../../layers/convolution.ts';
import { Layers } from '../../layers/layers.ts';
import { imageToTokens } from '../../layers/layout.ts';
import { meanOver } from '../../layers/pool.ts';

const known = ['img_size', 'in_chans', 'num_classes', 'width', 'depth'];

export const plain: Family = {
  name: 'plain',
  classes: {
    'plain.Plain'(args, source) {
      const read = readArguments(args, known);
      const layers = new Layers('Plain', source);
      const image = layers.images(read.integer('in_chans', 3, 1), read.pair('img_size', 32));
      const width = read.integer('width', 8, 1);
      const stem = conv(layers, 'stem.conv', image, width, { kernel: 4, stride: 4, bias: false });
      let x = imageToTokens(layers, batchNorm(layers, 'stem.bn', stem));
      for (let i = 0; i < read.integer('depth', 2, 0); i++) {
        const fed = layers.activation(layers.linear('steps.' + i + '.fc', x, width), 'relu');
        x = layers.builder.op('Add', [x, fed], {}, 'sum');
      }
      return layers.finish(layers.linear('out', meanOver(layers, x, [1]), read.integer('num_classes', 10, 1)));
    },
  },
  takesImageSize: true,
  noWeightDecay: [],
  blocks: (graph) =>
    measuredBlocks(graph, {
      block: /^(steps\\.\\d+)\\./,
      embedDim: (shapeOf) => shapeOf('fc.weight')?.[1],
      mlpHidden: (shapeOf) => firstLength(shapeOf, ['fc.bias']),
    }),
  inferArgs: ({ blocks }, given) => ({ ...given, depth: blocks.length, width: blocks[0]?.embedDim }),
};
`;

const width = 8;
const state: Record<string, readonly number[]> = {
  'stem.conv.weight': [width, 3, 4, 4],
  'stem.bn.weight': [width],
  'stem.bn.bias': [width],
  'stem.bn.running_mean': [width],
  'stem.bn.running_var': [width],
  'stem.bn.num_batches_tracked': [],
  'steps.0.fc.weight': [width, width],
  'steps.0.fc.bias': [width],
  'steps.1.fc.weight': [width, width],
  'steps.1.fc.bias': [width],
  'out.weight': [10, width],
  'out.bias': [10],
};
const lines = Object.entries(state).map(([name, shape]) => `${name}:[${shape.join(', ')}]`);
const stateHash = createHash('sha256').update(lines.sort().join('\n')).digest('hex').slice(0, 16);
const parameters = 8 * 48 + 2 * 8 + 2 * (64 + 8) + 80 + 10;

/** Its name, as scripts/timm-models.mjs writes one. */
const row: TimmModel = {
  class: 'plain.Plain',
  args: {},
  config: { input_size: [3, 32, 32], num_classes: 10, classifier: 'out', first_conv: 'stem.conv' },
  parameters,
  tensors: lines.length,
  stateHash,
  tags: [],
};

let built: string;

beforeAll(() => {
  built = scratchCheckout(at('checkout'), [
    { file: 'src/zoo/families/plain/family.ts', content: plain },
    {
      file: 'src/zoo/families/index.ts',
      find: 'export const families: readonly Family[] = [',
      replace:
        "import { plain } from './plain/family.ts';\nexport const families: readonly Family[] = [plain, ",
    },
    {
      file: 'src/zoo/data/timm-models.json',
      find: '"models":{',
      replace: `"models":{"plain_tiny":${JSON.stringify(row)},`,
    },
  ]);
}, 120_000);

it('is made, looked at and suggested by name', async () => {
  const made = await pqvOf(built, 'init', 'plain_tiny', '-o', at('model'), '--num-classes', '4');
  expect(made).toMatchObject({ code: 0, stderr: '' });
  const { stdout } = await pqvOf(built, 'inspect', at('model'), '--json');
  expect(JSON.parse(stdout)).toMatchObject({
    architecture: 'plain_tiny',
    parameters: parameters - 6 * 9,
    classes: 4,
    input: [3, 32, 32],
    blocks: [0, 1].map((i) => ({
      name: `steps.${i}`,
      embedDim: width,
      numHeads: null,
      headDim: null,
      mlpHidden: width,
    })),
  });
  const told = await pqvOf(built, 'inspect', at('model'));
  expect(told.stdout).toMatch(/steps\.0 to steps\.1 +2 +8 +- +8/);
  const wrong = await pqvOf(built, 'init', 'plain_tini', '-o', at('wrong'));
  expect(wrong).toMatchObject({ code: 2, stderr: expect.stringMatching(/did you mean plain_tiny/) });
});

it("has the state dict that its name's line says", async () => {
  expect(await pqvOf(built, 'init', 'plain_tiny', '-o', at('whole'))).toMatchObject({ code: 0 });
  const { stdout } = await pqvOf(built, 'inspect', at('whole'), '--json');
  expect(JSON.parse(stdout)).toMatchObject({ stateHash, parameters });
});

it('is pruned and stays in timm layout, and a bare checkpoint is read by its name', async () => {
  const args = ['prune', at('model'), '-o', at('pruned'), '--ratio', '0.5', '--importance', 'l1', '--json'];
  const pruned = await pqvOf(built, ...args);
  expect(pruned.stderr).toMatch(/^left whole: \w+: the model returns what it makes\n$/);
  expect(JSON.parse(pruned.stdout).files).toContain('model.safetensors');
  rmSync(at('pruned', 'model.onnx'));
  const { stdout } = await pqvOf(built, 'inspect', at('pruned'), '--json');
  expect(JSON.parse(stdout).blocks[0]).toMatchObject({ embedDim: width / 2 });
  const bare = ['inspect', at('model', 'model.safetensors'), '--arch', 'plain_tiny', '--json'];
  expect(JSON.parse((await pqvOf(built, ...bare)).stdout)).toMatchObject({ classes: 4 });
});
