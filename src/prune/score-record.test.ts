import { describe, expect, it } from 'vitest';
import { checkedAs } from '../common/json.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { buildVisionTransformer } from '../zoo/families/vision-transformer/build.ts';
import { findGroups } from './groups.ts';
import { prune } from './prune.ts';
import { scoreRecordSchema, scoresIn } from './score-record.ts';

const sizes = {
  img_size: [16, 16],
  patch_size: [8, 8],
  in_chans: 3,
  embed_dim: 12,
  depth: 2,
  num_heads: 3,
  num_classes: 5,
};
const build = (args = {}) =>
  buildVisionTransformer({ ...sizes, mlp_ratio: 2, ...args }, (name, shape) => {
    const size = shape.reduce((p, d) => p * d, 1);
    return Tensor.float32(
      shape,
      Float32Array.from({ length: size }, (_, i) => Math.sin(i * 1.7 + name.length)),
    );
  });

const options = { ratio: 0.5, importance: 'l2', headDims: 'tied', groupReduction: 'max' } as const;
const scored = async (graph = build()) => prune(onnxruntime, graph, options);

describe('a record of scores', () => {
  it('takes the place of computing them', async () => {
    const { scores, kept } = await scored();
    const read = checkedAs(scoreRecordSchema, JSON.parse(JSON.stringify(scores)), 'a file');
    expect(read).toEqual(scores);
    const again = await prune(onnxruntime, build(), { ratio: 0.5, headDims: 'tied', scores: read });
    expect(again.kept).toEqual(kept);
    expect((await prune(onnxruntime, build(), { ratio: 0.5, headDims: 'tied' })).kept).not.toEqual(kept);
  });

  it('says what each score is of', async () => {
    const { scores } = await scored();
    expect(scores.criterion).toEqual({ importance: 'l2', groupReduction: 'max', normalizer: 'mean' });
    const hidden = scores.groups.find(({ name }) => name === 'blocks.1.mlp.fc1')!;
    expect(hidden.tensors).toContainEqual({ name: 'blocks.1.mlp.fc2.weight', axis: 1, length: 24 });
    expect(hidden.channels).toEqual([...Array(24).keys()]);
    expect(hidden.scores).toHaveLength(24);
    const dims = scores.groups.find(({ kind }) => kind === 'headDims')!;
    expect(dims.tensors[0]).toEqual({ name: 'blocks.0.attn.qkv.weight', axis: 0, length: 36 });
    expect(dims.channels).toEqual(Array.from({ length: 36 }, (_, i) => i % 4));
  });

  it('is refused by another model, in one line', async () => {
    const { scores } = await scored();
    const refused = (args: object, headDims: 'tied' | 'free' = 'tied') =>
      expect(() => scoresIn(scores, findGroups(build(args), { headDims }).groups));
    refused({}).not.toThrow();
    refused({ embed_dim: 24 }).toThrow(/^scores of another model, .*with other tensors, axes or lengths/);
    refused({ depth: 1 }).toThrow(/groups, the model has/);
    refused({ depth: 3 }).toThrow(/scores of another model/);
    refused({}, 'free').toThrow(/other headDims/);
    const [first, ...others] = scores.groups;
    const short = { ...scores, groups: [{ ...first!, scores: [1] }, ...others] };
    const moved = { ...scores, groups: [{ ...first!, channels: first!.channels.toReversed() }, ...others] };
    const { groups } = findGroups(build(), { headDims: 'tied' });
    expect(() => scoresIn(short, groups)).toThrow(/1 scores for 12 channels of/);
    expect(() => scoresIn(moved, groups)).toThrow(/with other channels than the model's/);
  });

  it('has no weights that are no numbers', async () => {
    const graph = build();
    graph.setConstant(
      graph.constants.get('blocks.0.mlp.fc1.weight')!,
      Tensor.float32([24, 12], new Float32Array(288).fill(Number.NaN)),
    );
    await expect(scored(graph)).rejects.toThrow(/importance l2 of .* is not finite/);
  });
});
