import { UserError } from '../common/errors.ts';
import type { Random } from '../common/random.ts';
import { Builder } from '../graph/builder.ts';
import { divideDims } from '../graph/dim.ts';
import type { Dim, Graph, Value } from '../graph/graph.ts';
import type { ResidualBranch } from '../graph/residual.ts';
import { Tensor } from '../graph/tensor.ts';
import type { Tensors } from '../runtime/session.ts';
import { residualBlocks } from './residual-blocks.ts';

/** A residual branch that some images of a batch go without. */
export interface DropPath {
  /** The graph input that says which, `[N, 1]`: 0 for those without it, and `1 / keep` for the others. */
  readonly input: string;
  /** How likely an image keeps it. */
  readonly keep: number;
}

/**
 * Stochastic depth (Huang et al., arXiv 1603.09382): each residual branch is left out for some images, what is left is
 * scaled up by as much. How likely rises linearly from 0 in the first block to `rate` in the last, as timm has it. Changes
 * the graph in place. What is left out is drawn outside of it, so that a step is a function of its inputs.
 * @throws UserError where no branch is found behind the first block
 */
export function addDropPath(graph: Graph, rate: number): DropPath[] {
  const images = graph.inputs[0]?.shape?.[0];
  const blocks = residualBlocks(graph);
  const made = blocks.flatMap((branches, i) => {
    const dropped = (rate * i) / (blocks.length - 1);
    if (!(dropped > 0)) return [];
    return branches.flatMap((branch) => {
      const input = images === undefined ? undefined : scaledByImage(graph, branch, images);
      return input ? [{ input: input.name, keep: 1 - dropped }] : [];
    });
  });
  if (made.length === 0) {
    throw new UserError(
      `drop path leaves residual branches out, of which ${blocks.length} blocks have none behind the first`,
    );
  }
  return made;
}

/** Multiplies a branch by a number for each image; undefined where its first axis is not of images, or parts of them. */
function scaledByImage(graph: Graph, { end, side }: ResidualBranch, images: Dim): Value | undefined {
  const branch = end.input(side);
  const [lead, ...others] = branch.shape ?? [];
  const parts = lead === undefined ? undefined : divideDims(lead, images);
  if (typeof parts !== 'number') return undefined;
  const b = new Builder(graph, end);
  const input = graph.addInput(graph.uniqueName(`drop_path.${end.name}`), 'float32', [images, 1]);
  const each = parts === 1 ? input : b.op('Expand', [input, b.ints([1, parts])]);
  const factor = b.op('Reshape', [each, b.ints([-1, ...others.map(() => 1)])]);
  end.setInput(side, b.op('Mul', [branch, factor], {}, 'drop_path'));
  return input;
}

/** Which branches each image of a batch goes without. */
export const drawnPaths = (paths: readonly DropPath[], images: number, random: Random): Tensors =>
  Object.fromEntries(
    paths.map(({ input, keep }) => [
      input,
      Tensor.float32(
        [images, 1],
        Array.from({ length: images }, () => (random.uniform() < keep ? 1 / keep : 0)),
      ),
    ]),
  );
