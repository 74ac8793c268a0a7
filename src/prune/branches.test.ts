import { describe, expect, it } from 'vitest';
import { silent } from '../common/progress.ts';
import { Random } from '../common/random.ts';
import { checkGraph } from '../graph/check.ts';
import type { Graph } from '../graph/graph.ts';
import { residualBranches } from '../graph/residual.ts';
import { elementCount, Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import { buildVisionTransformer } from '../zoo/families/vision-transformer/build.ts';
import type { ModelArgs } from '../zoo/model-args.ts';
import { branchCount, trialsFor, withoutBranches } from './branches.ts';
import { prune } from './prune.ts';

const small: ModelArgs = {
  ...{ img_size: 16, patch_size: 8, in_chans: 3, embed_dim: 12, depth: 3, num_heads: 3 },
  ...{ num_classes: 5, mlp_ratio: 2 },
};

/** Every parameter random; what some branches add is small, of others large. */
const build = (scales: Readonly<Record<string, number>>, args: ModelArgs = {}): Graph =>
  buildVisionTransformer({ ...small, ...args }, (name, shape) => {
    const random = new Random(...new TextEncoder().encode(name));
    const scale = Object.entries(scales).find(([start]) => name.startsWith(start))?.[1] ?? 1;
    return Tensor.float32(
      shape,
      Array.from({ length: elementCount(shape) }, () => 0.3 * scale * random.normal()),
    );
  });

const pixels = Tensor.float32(
  [2, 3, 16, 16],
  Float32Array.from({ length: 2 * 3 * 256 }, (_, i) => Math.sin(7 * i)),
);

const outputOf = async (graph: Graph): Promise<Float32Array> =>
  (await runOnce(onnxruntime, graph, { pixel_values: pixels })).logits!.floats;

/** The graph with parameters that start like this at zero. */
function silenced(graph: Graph, starts: readonly string[]): Graph {
  const { graph: copy } = graph.clone();
  for (const [name, value] of [...copy.constants]) {
    if (starts.some((start) => name.startsWith(start))) {
      copy.setConstant(value, Tensor.zeros('float32', value.staticShape));
    }
  }
  return copy;
}

const last = { 'blocks.0.mlp.fc2': 0.01, 'blocks.2.attn.proj': 0.05 };

describe('residual branches', () => {
  it('go in the order in which they matter, and leave what the rest computes', async () => {
    const graph = build(last);
    const nodes = graph.nodes.length;
    const { graph: short, gone } = await withoutBranches(onnxruntime, graph, 2, [{ pixel_values: pixels }]);
    expect(gone.map(({ name }) => name)).toEqual(['blocks.0.mlp', 'blocks.2.attn']);
    expect(checkGraph(short)).toEqual([]);
    expect(residualBranches(short)).toHaveLength(4);
    expect([...short.constants.keys()].filter((name) => /^blocks\.0\.(mlp|norm2)/.test(name))).toEqual([]);
    expect(graph.nodes).toHaveLength(nodes);
    const [whole, left, zeroed] = await Promise.all(
      [graph, short, silenced(graph, Object.keys(last))].map(outputOf),
    );
    const norm = (numbers: Iterable<number>) => Math.hypot(...numbers);
    expect(norm(left!.map((x, i) => x - zeroed![i]!)) / norm(zeroed!)).toBeLessThan(1e-6);
    const change = norm(left!.map((x, i) => x - whole![i]!)) / norm(whole!);
    expect(gone[1]!.change / change).toBeCloseTo(1, 3);
    expect(gone[0]!.change).toBeLessThan(gone[1]!.change);
  });

  it('of which two are one sum go together', async () => {
    const graph = build({ 'blocks.1.attns': 0.01 }, { block_fn: 'ParallelThingsBlock' });
    const { graph: short, gone } = await withoutBranches(onnxruntime, graph, 1, [{ pixel_values: pixels }]);
    const left = await outputOf(short);
    const zeroed = await outputOf(
      silenced(graph, ['blocks.1.attns.0.attn.proj', 'blocks.1.attns.1.attn.proj']),
    );
    expect(gone[0]!.name).toBe('blocks.1.attns');
    expect(Math.hypot(...left.map((x, i) => x - zeroed[i]!)) / Math.hypot(...zeroed)).toBeLessThan(1e-6);
  });

  it('are counted as a number or as a share', () => {
    expect([branchCount(3, 8), branchCount(0.5, 8), branchCount(0.01, 8)]).toEqual([3, 4, 1]);
    expect(trialsFor(6, 2)).toBe(6 + 5);
    expect(() => branchCount(8, 8)).toThrow("8 can't go of the 8 that the model has");
    expect(() => branchCount(1.5, 8)).toThrow('1.5 is neither a share below 1 nor a whole number');
    expect(() => branchCount(1, 0)).toThrow('the model has no residual branches');
  });
});

describe('prune --branches', () => {
  it('alone, on noise, which it says', async () => {
    const notes: string[] = [];
    const progress = { ...silent, note: (text: string) => void notes.push(text) };
    const result = await prune(onnxruntime, build(last), { branches: 1 }, undefined, progress);
    expect(result.branches!.map(({ name }) => name)).toEqual(['blocks.0.mlp']);
    expect(result.kept).toEqual({});
    expect(notes).toContain(
      'branches are ranked by what they change on noise: give --data to rank them on images',
    );
  });

  it('before channels go', async () => {
    const images = {
      async *[Symbol.asyncIterator]() {
        yield { pixels, labels: Tensor.int64([0, 1]) };
      },
    };
    const result = await prune(onnxruntime, build(last), { branches: 0.34, ratio: 0.5 }, images);
    expect(result.branches).toHaveLength(2);
    expect(result.check!.relative).toBeLessThan(1e-4);
    expect(result.graph.constants.get('blocks.1.mlp.fc1.weight')!.shape).toEqual([12, 6]);
    expect(Object.keys(result.kept).some((name) => name.startsWith('blocks.0.mlp'))).toBe(false);
  });
});
