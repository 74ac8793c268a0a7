import { Builder } from '../graph/builder.ts';
import { sameDim } from '../graph/dim.ts';
import type { Graph, Node, Value } from '../graph/graph.ts';
import { permutes, soleReader } from '../graph/patterns.ts';
import { replaceValue } from '../graph/replace.ts';
import { argumentsOf, isComputed } from '../graph/schema/arguments.ts';
import { signatureOf } from '../graph/schema/signature.ts';

/**
 * Cuts packed queries, keys and values along the heads axis instead of a leading axis of its own, in
 * place. `x` is `[N, T, P*H*D]`; the parts are `[N, H, T, D]` each:
 *
 *     Reshape [N, T, P, H, D] -> Transpose [P, N, H, T, D] -> Split -> Squeeze, P times
 *     Reshape [N, T, P*H, D]  -> Transpose [N, P*H, T, D]  -> Split
 *
 * The second moves each number once, in rows of D, and leaves nothing for the engine to rearrange.
 * 1. Parts taken by `Split` and `Squeeze`.
 * 2. Parts taken by `Gather` with scalar indices.
 *
 * It does not fire when the heads or their width are not known, when the batch or token axis is not what
 * it was before the Reshape, or when somebody reads anything between but the parts.
 *
 * @returns how many attentions were changed
 */
export function packHeads(graph: Graph): number {
  let count = 0;
  for (const node of [...graph.nodes]) if (node.op === 'Transpose' && repack(graph, node)) count++;
  graph.removeDead();
  return count;
}

function repack(graph: Graph, transpose: Node): boolean {
  if (!permutes(transpose, [2, 0, 3, 1, 4])) return false;
  const reshape = transpose.input(0).producer;
  if (reshape?.op !== 'Reshape' || !soleReader(graph, reshape.output())) return false;
  const source = reshape.input(0);
  const [batch, tokens, parts, heads, width] = reshape.output().shape ?? [];
  if (typeof parts !== 'number' || typeof heads !== 'number' || typeof width !== 'number') return false;
  if (source.shape?.length !== 3 || !sameDim(source.shape[0], batch) || !sameDim(source.shape[1], tokens))
    return false;
  const cut = cutParts(graph, transpose.output(), parts);
  if (!cut) return false;
  const b = new Builder(graph, transpose);
  const boxed = b.op('Reshape', [source, b.ints([0, 0, parts * heads, width])]);
  const headsFirst = b.op('Transpose', [boxed], { perm: [0, 2, 1, 3] });
  const split = b.node('Split', [headsFirst], { axis: 1 }, parts);
  const counts = signatureOf(split)?.attributes.some(({ name }) => name === 'num_outputs');
  if (counts) split.setAttribute('num_outputs', parts);
  for (const [value, index] of cut) replaceValue(graph, value, split.output(index));
  return true;
}

/** The parts `[N, H, T, D]` that are read of a `[P, N, H, T, D]`, with their indices. */
function cutParts(graph: Graph, packed: Value, parts: number): [Value, number][] | undefined {
  if (graph.outputs.includes(packed)) return undefined;
  const split = soleReader(graph, packed);
  if (split?.op === 'Split') {
    if (argumentsOf<'Split'>(split).axis !== 0 || split.outputs.length !== parts) return undefined;
    const squeezed: [Value, number][] = [];
    for (const [index, output] of split.outputs.entries()) {
      if (!output || output.uses.length === 0) continue;
      const squeeze = soleReader(graph, output);
      if (squeeze?.op !== 'Squeeze' || `${argumentsOf<'Squeeze'>(squeeze).axes}` !== '0') return undefined;
      squeezed.push([squeeze.output(), index]);
    }
    return squeezed;
  }
  const gathered: [Value, number][] = [];
  for (const { node, index } of packed.uses) {
    if (node.op !== 'Gather' || index !== 0) return undefined;
    const { axis, indices } = argumentsOf<'Gather'>(node);
    if (axis !== 0 || isComputed(indices) || node.input(1).shape?.length !== 0) return undefined;
    const part = indices[0]!;
    gathered.push([node.output(), part < 0 ? part + parts : part]);
  }
  return gathered;
}
