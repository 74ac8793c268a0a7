import { describe, expect, it } from 'vitest';
import { UserError } from '../common/errors.ts';
import { Builder } from '../graph/builder.ts';
import { Graph } from '../graph/graph.ts';
import { setParameters } from '../graph/parameters.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { layerRates } from './layer-decay.ts';
import { scheduleOf } from './schedule.ts';
import { slots } from './step.ts';
import { Trainer, type TrainerOptions } from './trainer.ts';

/** A classifier of one matrix, `logits = x W^T`. */
function linear(weight: Tensor): Graph {
  const graph = new Graph('linear');
  const b = new Builder(graph);
  const x = graph.addInput('pixel_values', 'float32', ['N', weight.shape[1]!]);
  const w = graph.addConstant('head.weight', weight);
  graph.outputs.push(b.op('MatMul', [x, b.op('Transpose', [w], { perm: [1, 0] })]));
  setParameters(graph, ['head.weight']);
  return graph;
}

const rows = [
  [1, 2],
  [-1, 0.5],
  [0.3, -0.7],
];
const targets = [
  [1, 0],
  [0.25, 0.75],
  [0, 1],
];
const weight = Tensor.float32([2, 2], [0.5, -0.25, 0.125, 1]);
const [lr, weightDecay] = [0.1, 0.3];

/** Gradient of the mean cross-entropy. */
function gradientOf(p: readonly number[]): number[] {
  const g = [0, 0, 0, 0];
  rows.forEach((row, n) => {
    const powers = [0, 1].map((k) => Math.exp(p[2 * k]! * row[0]! + p[2 * k + 1]! * row[1]!));
    const total = powers[0]! + powers[1]!;
    powers.forEach((power, k) => {
      const error = (power / total - targets[n]![k]!) / 3;
      g[2 * k]! += error * row[0]!;
      g[2 * k + 1]! += error * row[1]!;
    });
  });
  return g;
}

async function trained(options: TrainerOptions, steps: number): Promise<Trainer> {
  const trainer = await Trainer.create(onnxruntime, linear(weight), options);
  const batch = {
    pixels: Tensor.float32([3, 2], rows.flat()),
    targets: Tensor.float32([3, 2], targets.flat()),
  };
  for (let i = 0; i < steps; i++) await trainer.train(batch, lr, weightDecay);
  return trainer;
}

function expectClose(found: ArrayLike<number>, wanted: readonly number[]): void {
  wanted.forEach((value, i) => {
    expect(found[i]).toBeCloseTo(value, 5);
  });
}

describe('stochastic gradient descent', () => {
  it.each([false, true])('follows the formula of torch.optim.SGD (Nesterov: %s)', async (nesterov) => {
    const p = Array.from(weight.floats);
    const m = p.map(() => 0);
    for (let step = 0; step < 4; step++) {
      gradientOf(p).forEach((g, i) => {
        const d = g + weightDecay * p[i]!;
        m[i] = 0.8 * m[i]! + d;
        p[i]! -= lr * (nesterov ? d + 0.8 * m[i]! : m[i]!);
      });
    }
    const trainer = await trained({ optimizer: 'sgd', momentum: 0.8, nesterov }, 4);
    expectClose(trainer.parameters()['head.weight']!.floats, p);
    expect(Object.keys(trainer.state.tensors).sort()).toEqual(['head.weight', 'm.head.weight']);
    await trainer.dispose();
  });

  it('accumulates batches for an update as one batch of them all', async () => {
    const [whole, parts] = [
      await trained({ optimizer: 'sgd' }, 1),
      await trained({ optimizer: 'sgd', accumulate: 2 }, 2),
    ];
    expectClose(parts.parameters()['head.weight']!.floats, [...whole.parameters()['head.weight']!.floats]);
    await Promise.all([whole.dispose(), parts.dispose()]);
  });
});

describe('what joins an update', () => {
  it.each(['adamw', 'sgd'] as const)(
    'a rate of its own is a learning rate of its own (%s)',
    async (optimizer) => {
      const slow = await trained({ optimizer, rates: new Map([['head.weight', 0.25]]) }, 3);
      const trainer = await Trainer.create(onnxruntime, linear(weight), { optimizer });
      const batch = {
        pixels: Tensor.float32([3, 2], rows.flat()),
        targets: Tensor.float32([3, 2], targets.flat()),
      };
      for (let i = 0; i < 3; i++) await trainer.train(batch, 0.25 * lr, weightDecay);
      expectClose(slow.parameters()['head.weight']!.floats, [...trainer.parameters()['head.weight']!.floats]);
      await Promise.all([slow.dispose(), trainer.dispose()]);
    },
  );

  it('a running mean of the weights is what is given', async () => {
    const trainer = await Trainer.create(onnxruntime, linear(weight), { emaDecay: 0.75 });
    const batch = {
      pixels: Tensor.float32([3, 2], rows.flat()),
      targets: Tensor.float32([3, 2], targets.flat()),
    };
    let mean = Array.from(weight.floats);
    for (let i = 0; i < 3; i++) {
      await trainer.train(batch, lr, weightDecay);
      const now = trainer.state.tensors[slots.parameter('head.weight')]!.floats;
      mean = mean.map((value, j) => 0.75 * value + 0.25 * now[j]!);
    }
    expectClose(trainer.parameters()['head.weight']!.floats, mean);
    await trainer.dispose();
  });
});

describe('schedules', () => {
  const options = { lr: 1, totalSteps: 100, warmup: 0.1, decaySteps: 30, decayRate: 0.5 };

  it('rise alike, and go on by their names', () => {
    const [step, constant] = [scheduleOf('step', options), scheduleOf('constant', options)];
    expect([step(4), constant(4), scheduleOf('cosine', options)(4)]).toEqual([0.5, 0.5, 0.5]);
    expect([10, 29, 30, 59, 60, 99].map(step)).toEqual([1, 1, 0.5, 0.5, 0.25, 0.125]);
    expect([10, 99].map(constant)).toEqual([1, 1]);
  });
});

describe('rates of layers', () => {
  it('are those of timm for a ViT: stem, blocks, the norm with the last, the head', () => {
    const rates = layerRates(
      [
        'cls_token',
        'patch_embed.proj.weight',
        'blocks.0.norm1.weight',
        'blocks.1.mlp.fc1.bias',
        'norm.weight',
        'head.weight',
      ],
      0.5,
    );
    expect([...rates.values()]).toEqual([0.125, 0.125, 0.25, 0.5, 0.5, 1]);
  });

  it('are those of timm for a Swin: a stage goes on where the last ended, its downsampling with its first block', () => {
    const names = [
      'patch_embed.proj.weight',
      'layers.0.blocks.0.attn.qkv.weight',
      'layers.0.blocks.1.mlp.fc2.weight',
    ];
    const rates = layerRates(
      [
        ...names,
        'layers.1.downsample.norm.weight',
        'layers.1.blocks.0.norm1.weight',
        'norm.bias',
        'head.fc.weight',
      ],
      0.5,
    );
    expect([...rates.values()]).toEqual([1 / 16, 1 / 8, 1 / 4, 1 / 2, 1 / 2, 1 / 2, 1]);
  });

  it('need blocks', () => {
    expect(() => layerRates(['conv.weight', 'head.weight'], 0.5)).toThrow(UserError);
  });
});
