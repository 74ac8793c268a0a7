import { describe, expect, it } from 'vitest';
import { fromTimmConfig, toTimmConfig } from '../dataset/preprocessing.ts';
import { Builder } from '../graph/builder.ts';
import { countMacs } from '../graph/cost.ts';
import { Graph, type Value } from '../graph/graph.ts';
import { inferGraph } from '../graph/infer.ts';
import { Tensor } from '../graph/tensor.ts';
import { importGraph } from '../import/import-graph.ts';
import { initModel } from '../zoo/model.ts';
import type { ModelArgs } from '../zoo/model-args.ts';
import { findArchitecture } from '../zoo/registry.ts';
import { describeGroups, type GroupsDescription } from './describe-groups.ts';

function model(architecture: string, modelArgs: ModelArgs, input?: [number, number, number]): Graph {
  const { preprocessing } = findArchitecture(architecture);
  const size = input && {
    preprocessing: fromTimmConfig({ ...toTimmConfig(preprocessing), input_size: input }, architecture),
  };
  return initModel({ architecture, modelArgs, ...size }, 1);
}

/** One group, by kind and name. */
function groupIn({ groups }: GroupsDescription, kind: string, name: string) {
  const found = groups.filter((group) => group.kind === kind && group.name === name);
  expect(found).toHaveLength(1);
  return found[0]!;
}

/** A small graph of linear layers between an input of 12 numbers and its outputs. */
class Net {
  readonly graph = new Graph('net');
  readonly b = new Builder(this.graph);
  readonly x = this.graph.addInput('x', 'float32', ['N', 12]);

  constant(name: string, ...shape: number[]): Value {
    const count = shape.reduce((p, d) => p * d, 1);
    return this.graph.addConstant(
      name,
      Tensor.float32(
        shape,
        Float32Array.from({ length: count }, (_, i) => Math.sin(i + 1)),
      ),
    );
  }

  linear(name: string, x: Value, inputs: number, outputs: number): Value {
    return this.b.op('MatMul', [x, this.constant(`${name}.weight`, inputs, outputs)]);
  }

  described(...outputs: Value[]): GroupsDescription {
    this.graph.outputs.push(...outputs);
    inferGraph(this.graph);
    return describeGroups(this.graph);
  }
}

describe('of a ViT', () => {
  const graph = model('vit_tiny_patch16_224', {
    img_size: 32,
    patch_size: 8,
    embed_dim: 24,
    depth: 2,
    num_heads: 3,
    num_classes: 10,
  });
  const found = describeGroups(graph);
  const [tokens, width, hidden] = [17, 24, 96];
  const attention = tokens * width * 3 * width + 2 * 3 * tokens * tokens * 8 + tokens * width * width;

  it('the work that each group takes part in is the sum of its layers', () => {
    const patches = 16 * (3 * 8 * 8) * width;
    const linears = tokens * width * (3 * width + width + 2 * hidden);
    const total = patches + 2 * (attention + 2 * tokens * width * hidden) + width * 10;
    expect(countMacs(graph)).toBe(total);
    const macs = Object.fromEntries(found.groups.map((group) => [`${group.kind} ${group.name}`, group.macs]));
    expect(macs).toEqual({
      'channels patch_embed.proj': patches + 2 * linears + width * 10,
      ...Object.fromEntries(
        [0, 1].flatMap((block) => [
          [`headDims blocks.${block}.attn.qkv`, attention],
          [`heads blocks.${block}.attn.qkv`, attention],
          [`channels blocks.${block}.mlp.fc1`, 2 * tokens * width * hidden],
        ]),
      ),
    });
    for (const group of found.groups) expect(group.macsShare).toBeCloseTo(group.macs / total, 12);
  });

  it('heads, their dimensions and what a choice keeps to', () => {
    expect(groupIn(found, 'headDims', 'blocks.1.attn.qkv')).toMatchObject({
      pattern: 'blocks.*.attn.qkv',
      units: 8,
      heads: 3,
      headDims: [8],
      residual: false,
      constraints: ['as many dimensions go in every head: 6 sets of 8 choose apart'],
      couples: [
        { parameter: 'blocks.1.attn.qkv.weight', axis: 0, role: 'output', indices: 72, length: 72 },
        { parameter: 'blocks.1.attn.qkv.bias', axis: 0, role: 'added', indices: 72, length: 72 },
        { parameter: 'blocks.1.attn.proj.weight', axis: 1, role: 'input', indices: 24, length: 24 },
      ],
    });
    expect(groupIn(found, 'heads', 'blocks.1.attn.qkv')).toMatchObject({ units: 3, heads: 3, headDims: [8] });
    expect(groupIn(found, 'channels', 'patch_embed.proj')).toMatchObject({
      units: 24,
      heads: null,
      residual: true,
      constraints: [],
    });
  });

  it('images and classes stay, because they are given and returned', () => {
    expect(found.leftWhole).toEqual([
      {
        name: 'patch_embed.proj',
        side: 'inputs',
        channels: 3,
        kind: 'input',
        why: 'what meets the input of the model stays',
        at: 'pixel_values',
      },
      {
        name: 'head',
        side: 'outputs',
        channels: 10,
        kind: 'output',
        why: 'the model returns what it makes',
        at: 'logits',
      },
    ]);
  });
});

it('Swin: a merged channel is four of the next stage, heads have columns of the bias table', () => {
  const found = describeGroups(
    model('swin_tiny_patch4_window7_224', {
      img_size: 56,
      embed_dim: 8,
      depths: [1, 1],
      num_heads: [2, 4],
      num_classes: 5,
    }),
  );
  const first = groupIn(found, 'channels', 'patch_embed.proj');
  expect(first.constraints).toEqual([
    'a channel is 4 indices of layers.1.downsample.norm.weight[0], layers.1.downsample.norm.bias[0], layers.1.downsample.reduction.weight[1]',
  ]);
  expect(first.macs).toBe(196 * 48 * 8 + 196 * (8 * 24 + 8 * 8 + 2 * 8 * 32) + 49 * 32 * 16);
  expect(groupIn(found, 'heads', 'layers.1.blocks.0.attn.qkv')).toMatchObject({
    units: 4,
    headDims: [4],
    couples: expect.arrayContaining([
      {
        parameter: 'layers.1.blocks.0.attn.relative_position_bias_table',
        axis: 1,
        role: 'other',
        indices: 4,
        length: 4,
      },
    ]),
  });
});

it('PVT v2: what the spatial reduction makes is read by keys and values alone', () => {
  const found = describeGroups(
    model(
      'pvt_v2_b0',
      {
        embed_dims: [16, 32],
        depths: [1, 1],
        num_heads: [1, 2],
        sr_ratios: [4, 2],
        mlp_ratios: [2, 2],
        num_classes: 5,
      },
      [3, 64, 64],
    ),
  );
  expect(groupIn(found, 'channels', 'stages.0.blocks.0.attn.sr').macs).toBe(16 * (16 * 16 * 16 + 16 * 32));
  const keys = 4 * 4;
  const attention = 64 * 32 * 32 + 16 * 32 * 64 + 2 * 64 * keys * 32 + 64 * 32 * 32;
  expect(groupIn(found, 'heads', 'stages.1.blocks.0.attn.q')).toMatchObject({ units: 2, macs: attention });
  expect(found.leftWhole.map(({ name, side }) => `${name} ${side}`)).toEqual([
    'patch_embed.proj inputs',
    'head outputs',
  ]);
});

it('MobileViT: a depthwise convolution goes with what it reads', () => {
  const found = describeGroups(model('mobilevit_xs', { num_classes: 5 }, [3, 64, 64]));
  const expanded = groupIn(found, 'channels', 'stages.0.0.conv1_1x1.conv');
  expect(expanded.macs).toBe(32 * 32 * (16 * 64 + 64 * 9 + 64 * 32));
  expect(expanded.couples.map(({ parameter, axis }) => `${parameter}[${axis}]`)).toContain(
    'stages.0.0.conv2_kxk.conv.weight[0]',
  );
  expect(expanded.constraints).toEqual([]);
});

it('CaiT: heads take the layers that mix them along', () => {
  const found = describeGroups(
    model('cait_xxs24_224', { img_size: 32, embed_dim: 24, depth: 1, num_heads: 3, num_classes: 5 }),
  );
  const heads = groupIn(found, 'heads', 'blocks.0.attn.qkv');
  expect(heads).toMatchObject({ units: 3, headDims: [8] });
  expect(heads.couples.map(({ parameter, axis }) => `${parameter}[${axis}]`)).toEqual(
    expect.arrayContaining([
      'blocks.0.attn.proj_l.weight[1]',
      'blocks.0.attn.proj_w.weight[0]',
      'blocks.0.attn.proj_w.bias[0]',
    ]),
  );
  expect(found.leftWhole.map(({ name }) => name)).toEqual(['patch_embed.proj', 'head']);
});

it('LeViT: queries and values of a head differ in length', () => {
  const found = describeGroups(model('levit_128s', { num_classes: 5 }));
  expect(groupIn(found, 'heads', 'stages.0.blocks.0.attn.qkv.linear')).toMatchObject({
    heads: 4,
    headDims: [16, 32],
  });
});

it('a convolution in groups loses the same channels in each', () => {
  const net = new Net();
  const image = net.b.op('Reshape', [net.x, net.b.ints([-1, 3, 2, 2])]);
  const convolved = (name: string, x: Value, shape: number[], group: number) =>
    net.b.op('Conv', [x, net.constant(`${name}.weight`, ...shape)], { group });
  const a = convolved('a', image, [8, 3, 1, 1], 1);
  const parted = convolved('parted', a, [12, 4, 1, 1], 2);
  const found = net.described(convolved('last', parted, [5, 12, 1, 1], 1));
  const rule = 'the same channels go in each of the 2 groups of parted';
  expect(groupIn(found, 'channels', 'a')).toMatchObject({ units: 4, constraints: [rule] });
  expect(groupIn(found, 'channels', 'parted')).toMatchObject({
    units: 6,
    constraints: [rule],
    macs: 4 * (12 * 4 + 12 * 5),
  });
});

describe('what stays says why', () => {
  const whyOf = ({ leftWhole }: GroupsDescription, name: string, side = 'outputs') =>
    leftWhole.filter((layer) => layer.name === name && layer.side === side);

  it('each of several outputs', () => {
    const net = new Net();
    const features = net.b.op('Relu', [net.linear('a', net.x, 12, 8)]);
    const hidden = net.b.op('Relu', [net.linear('b', features, 8, 6)]);
    const logits = net.linear('c', hidden, 6, 4);
    const second = net.linear('d', hidden, 6, 3);
    const found = net.described(logits, features, second);
    expect(found.groups.map(({ name, units }) => `${name} ${units}`)).toEqual(['b 6']);
    for (const [name, at] of [
      ['a', features],
      ['c', logits],
      ['d', second],
    ] as const) {
      expect(whyOf(found, name)).toMatchObject([{ kind: 'output', at: at.name }]);
    }
    expect(whyOf(found, 'b', 'inputs')).toMatchObject([{ kind: 'output', at: features.name, channels: 8 }]);
    expect(whyOf(found, 'a', 'inputs')).toMatchObject([{ kind: 'input', at: 'x', channels: 12 }]);
  });

  it('a softmax over channels', () => {
    const net = new Net();
    const gate = net.b.op('Softmax', [net.linear('a', net.x, 12, 8)], { axis: -1 });
    const found = net.described(net.linear('b', gate, 8, 4));
    expect(whyOf(found, 'a')).toMatchObject([
      { kind: 'softmax', why: 'Softmax is over them', at: gate.producer!.name || gate.name },
    ]);
  });

  it('numbers that no layer makes: the coordinates of a position network', () => {
    const { groups, leftWhole } = describeGroups(
      model('swinv2_tiny_window8_256', {
        img_size: 64,
        embed_dim: 8,
        depths: [1, 1],
        num_heads: [2, 2],
        num_classes: 5,
      }),
    );
    const network = 'layers.0.blocks.0.attn.cpb_mlp.0';
    expect(groups.map(({ name }) => name)).toContain(network);
    expect(leftWhole.find(({ name }) => name === network)).toMatchObject({
      side: 'inputs',
      channels: 2,
      kind: 'unmade',
    });
  });

  it('an op that can not be seen through, and what is behind it', () => {
    const net = new Net();
    const sorted = net.b.op('CumSum', [net.linear('a', net.x, 12, 8), net.b.scalar(1)]);
    const found = net.described(net.linear('b', net.b.op('Relu', [sorted]), 8, 4));
    for (const [name, side] of [
      ['a', 'outputs'],
      ['b', 'inputs'],
    ] as const) {
      expect(whyOf(found, name, side)).toMatchObject([
        { kind: 'opaque', why: 'CumSum has no dependency rule', channels: 8 },
      ]);
    }
  });
});

it('one vector of zeros that many layers add ties none of them', () => {
  const net = new Net();
  const zeros = net.graph.addConstant('zeros', Tensor.float32([8], new Float32Array(8)));
  let x = net.x;
  for (let i = 0; i < 15; i++) {
    x = net.b.op('Relu', [net.b.op('Add', [net.linear(`layer${i}`, x, i === 0 ? 12 : 8, 8), zeros])]);
  }
  net.graph.outputs.push(net.linear('last', x, 8, 4));
  importGraph(net.graph);
  const { groups } = describeGroups(net.graph);
  expect(groups.map(({ kind, units }) => `${kind} ${units}`)).toEqual(Array(15).fill('channels 8'));
  expect(groups.map(({ macs }) => macs)).toEqual([
    12 * 8 + 8 * 8,
    ...Array(13).fill(2 * 8 * 8),
    8 * 8 + 8 * 4,
  ]);
});
