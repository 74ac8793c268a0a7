import { UserError } from '../common/errors.ts';
import type { Graph, Node, Value } from '../graph/graph.ts';
import { partOf } from '../graph/part.ts';
import { residualBranches } from '../graph/residual.ts';
import { applyPlan } from './apply.ts';
import type { PruningGroup } from './group.ts';

/** A stretch of a model between two places where all of it goes through one value: the residual stream. */
export interface Piece {
  /** Its first weight of a layer, less `.weight`: `blocks.0.mlp.fc1`. */
  readonly name: string;
  /** Pieces with one key compute the same on tensors of the same shapes, and are timed once. */
  readonly key: string;
  readonly graph: Graph;
  /** Indices of the groups that have parameters in it, ascending. */
  readonly groups: readonly number[];
}

/**
 * The model cut at its residual stream: what comes before it, each branch with the Add that ends it, what lies
 * between and behind. A graph without residual branches is one piece. Shapes must have been inferred.
 * @param groups of this graph
 */
export async function piecesOf(graph: Graph, groups: readonly PruningGroup[]): Promise<Piece[]> {
  const pieces: Piece[] = [];
  for (const part of cutAtStream(graph)) {
    const names = new Set(part.constants.keys());
    const own = [...groups.keys()].filter((i) =>
      groups[i]!.slices.some(({ parameter }) => names.has(parameter.name)),
    );
    pieces.push({ name: nameOf(part), key: await keyOf(part), graph: part, groups: own });
  }
  return pieces;
}

/**
 * What is left of a piece when units of one group go.
 * @param kept units that stay of every scope of the group
 */
export function narrowed(graph: Graph, piece: number, group: PruningGroup, kept: number): Graph {
  const seen = new Map<number, number>();
  const gone = [...group.scopes.keys()].filter((unit) => {
    const rank = seen.get(group.scopes[unit]!) ?? 0;
    seen.set(group.scopes[unit]!, rank + 1);
    return rank >= kept;
  });
  return cutAtStream(applyPlan(graph, new Map([[group, gone]])).graph)[piece]!;
}

/** The key of the whole model, from those of its pieces. */
export const modelKey = (pieces: readonly Piece[]): Promise<string> =>
  digest(pieces.map(({ key }) => key).join('\n'));

/** Parts, in order, that hand one value on, of which the part behind is computed alone. */
function cutAtStream(graph: Graph): Graph[] {
  const place = new Map(graph.nodes.map((node, i) => [node, i]));
  const sources = new Set(graph.inputs.filter((input) => !input.isConstant));
  const cuts: { value: Value | undefined; nodes: Set<Node> }[] = [];
  const cut = (values: readonly Value[], last: boolean) => {
    for (;;) {
      const before = cuts.at(-1)?.value;
      const { nodes, reached } = behind(values, before, sources);
      if (!before || !reached) {
        cuts.push({ value: last ? undefined : values[0], nodes });
        return;
      }
      cuts.pop();
    }
  };
  for (const { end, side } of residualBranches(graph)) {
    const stream = end.input(1 - side);
    if (cuts.at(-1)?.value !== stream) cut([stream], false);
    cut([end.output()], false);
  }
  cut(graph.outputs, true);
  return cuts.map(({ value, nodes }) => {
    const ordered = [...nodes].sort((a, b) => place.get(a)! - place.get(b)!);
    return partOf(graph, ordered, value ? [value] : graph.outputs).graph;
  });
}

/** The nodes that values are computed by, back to a value; whether the model's input is reached another way. */
function behind(
  values: readonly Value[],
  stop: Value | undefined,
  sources: ReadonlySet<Value>,
): { nodes: Set<Node>; reached: boolean } {
  const nodes = new Set<Node>();
  let reached = false;
  const open = [...values];
  for (let value = open.pop(); value; value = open.pop()) {
    if (value === stop) continue;
    if (sources.has(value)) reached = true;
    const { producer } = value;
    if (!producer || nodes.has(producer)) continue;
    nodes.add(producer);
    for (const input of producer.inputs) if (input) open.push(input);
  }
  return { nodes, reached };
}

function nameOf(part: Graph): string {
  const weight = [...part.constants.values()].find(
    ({ name, shape }) => name.endsWith('.weight') && (shape?.length ?? 0) > 1,
  );
  const named = weight?.name ?? part.nodes[0]?.name;
  if (named === undefined) throw new UserError('the model has no nodes whose time could be measured');
  return named.replace(/\.weight$/, '');
}

/** A digest of ops, attributes and shapes, whatever the values are called. */
function keyOf(part: Graph): Promise<string> {
  const numbers = new Map<Value, number>();
  const described = (value: Value | undefined) => {
    if (!value) return '-';
    const known = numbers.get(value);
    if (known !== undefined) return `#${known}`;
    numbers.set(value, numbers.size);
    return `${value.isConstant ? 'constant' : ''}${value.dtype}[${value.shape}]`;
  };
  const lines = part.nodes.map((node) => {
    const attributes = [...node.attributes].map(([name, attribute]) => [name, String(attribute.value)]);
    return `${node.op} ${JSON.stringify(attributes.sort())} ${[...node.inputs, ...node.outputs].map(described).join(' ')}`;
  });
  return digest(lines.join('\n'));
}

async function digest(text: string): Promise<string> {
  const bytes = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)));
  return [...bytes.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
