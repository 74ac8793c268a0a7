import { sameShape } from '../../graph/dim.ts';
import type { Graph, Node, Value } from '../../graph/graph.ts';
import { permutes, scaleOf, soleReader, swapsLastTwo } from '../../graph/patterns.ts';
import { replaceValue } from '../../graph/replace.ts';
import { scopedBuilder } from './linear.ts';

/**
 * Writes the scores of an attention as our builders do.
 * 1. Queries and keys that are both scaled, and scores: the queries are scaled by all of it.
 * 2. Keys `[N, H, T, D]` that are transposed as `[N * H, T, D]` are transposed as they are.
 *
 * It does not fire where somebody else reads the scaled value, or the scores are no product that a Softmax is of.
 */
export function scores(graph: Graph): void {
  for (const node of [...graph.nodes]) if (node.op === 'Reshape') straightTranspose(graph, node);
  graph.removeDead();
  for (const node of [...graph.nodes]) {
    if (node.op === 'MatMul' && leadsToSoftmax(graph, node)) scaleQueries(graph, node);
  }
  graph.removeDead();
}

function straightTranspose(graph: Graph, node: Node): void {
  const turn = node.input(0).producer;
  if (!permutes(turn, [0, 2, 1])) return;
  const flat = turn.input(0).producer;
  const x = flat?.op === 'Reshape' ? flat.input(0) : undefined;
  const [from, to] = [x?.shape, node.output().shape];
  if (!x || !from || !to || from.length < 3 || turn.input(0).shape?.length !== 3) return;
  const rank = from.length;
  const swapped = [...from.slice(0, -2), from[rank - 1]!, from[rank - 2]!];
  const kept = sameShape(turn.input(0).shape!.slice(1), from.slice(-2));
  if (!sameShape(swapped, to) || !kept) return;
  const perm = [...from.keys()].slice(0, -2).concat(rank - 1, rank - 2);
  replaceValue(graph, node.output(), scopedBuilder(graph, node).op('Transpose', [x], { perm }, 'k_t'));
  graph.removeNodes([node]);
}

/** Through what is added (a bias, a mask), reshaped, and scaled by a constant. */
function leadsToSoftmax(graph: Graph, node: Node): boolean {
  let reader = soleReader(graph, node.output());
  for (let steps = 0; reader && steps < 8; steps++) {
    if (reader.op === 'Softmax') return true;
    if (!['Add', 'Reshape', 'Mul', 'Div', 'Where', 'Cast'].includes(reader.op)) return false;
    reader = soleReader(graph, reader.output());
  }
  return false;
}

function scaleQueries(graph: Graph, node: Node): void {
  let total = 1;
  let count = 0;
  const peel = (value: Value): Value => {
    const maker = soleReader(graph, value) && value.producer;
    const scale = maker && scaleOf(maker);
    if (!scale) return value;
    total *= scale.factor;
    count++;
    return peel(scale.value);
  };
  const q = peel(node.input(0));
  const k = node.input(1);
  const turn = soleReader(graph, k) && k.producer;
  const unscaled = swapsLastTwo(turn) ? peel(turn.input(0)) : peel(k);
  const scores = node.output();
  const after = soleReader(graph, scores);
  const scale = after && scaleOf(after);
  if (scale) {
    total *= scale.factor;
    count++;
  }
  if (count === 0 || (count === 1 && q !== node.input(0))) return;
  const b = scopedBuilder(graph, node);
  node.setInput(0, b.op('Mul', [q, b.scalar(total)], {}, 'q_scaled'));
  if (swapsLastTwo(turn)) turn.setInput(0, unscaled);
  else node.setInput(1, unscaled);
  if (scale) {
    graph.replaceUses(after!.output(), scores);
    graph.removeNodes([after!]);
  }
}
