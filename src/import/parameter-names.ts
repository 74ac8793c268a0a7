import type { Graph, Node, Value } from '../graph/graph.ts';
import { setBuffers, setParameters } from '../graph/parameters.ts';
import { otherOperand, permutes, soleReader } from '../graph/patterns.ts';
import { type OpName, rowOf, rowsFor } from '../graph/schema/signature.ts';
import { moduleOf } from './value-names.ts';

/**
 * Whether a constant bears the name that its module gave it (`encoder.0.weight`), rather than one that an
 * exporter made up.
 */
export const isParameterName = (name: string): boolean =>
  /^[A-Za-z_]\w*(\.\w+)*$/.test(name) &&
  !/^(val|const|constant|scalar|ints|shape|lifted_tensor|_to_copy|node|t)(_?\d+)?(_known|_t)*$/i.test(name);

/** What a constant input of a layer is called in it, by its place. */
type Slots = readonly (string | undefined)[];

const affine: Slots = [undefined, 'weight', 'bias'];

/** The ops whose constant inputs are a layer's tensors, keyed by `Node.op`. */
const slotsOf: { readonly [O in OpName]?: Slots } = {
  ...rowsFor('Conv ConvTranspose LayerNormalization InstanceNormalization GroupNormalization', affine),
  ...rowsFor('RMSNormalization SimplifiedLayerNormalization PRelu', [undefined, 'weight']),
  BatchNormalization: [undefined, 'weight', 'bias', 'running_mean', 'running_var'],
  'com.microsoft.DynamicQuantizeMatMul': [undefined, 'weight', undefined, undefined, 'bias'],
  'com.microsoft.MatMulNBits': [undefined, 'weight', undefined, undefined, undefined, 'bias'],
};

/** Where ops read the scales of integers, which are no parameters of their own, keyed by `Node.op`. */
const scales: { readonly [O in OpName]?: readonly number[] } = {
  ...rowsFor('QuantizeLinear DequantizeLinear', [1]),
  ...rowsFor('com.microsoft.DynamicQuantizeMatMul com.microsoft.MatMulNBits', [2]),
  'com.microsoft.MatMulIntegerToFloat': [2, 3],
};

const running = new Set(['running_mean', 'running_var']);
/** Names of what PyTorch modules keep and do not train. */
const untrained =
  /(^|[._])(mask|index|indices|coords|coords_table|position_ids|running_mean|running_var|num_batches_tracked)$/;

/** A layer's tensor, where the layer reads it. */
interface Place {
  readonly node: Node;
  readonly index: number;
  readonly slot: string;
  /** What computes with it: the node, or one behind it. */
  readonly layer: Node;
}

/**
 * Names the tensors of layers by their modules, and records which constants are parameters and which buffers.
 * 1. What a layer reads is `MODULE.weight`, `.bias`, `.running_mean`, `.running_var`; the module is that of a tensor
 *    beside it that bears its name still, or that in which the layer computes.
 * 2. A vector that layers of several modules read (an exporter writes equal ones once) becomes one for each.
 * 3. Other float constants that bear a name are parameters, but for masks, tables of indices and what the exporter
 *    lists as buffers.
 */
export function parameterNames(graph: Graph): void {
  const listed = listedNames(graph);
  const given = (name: string) =>
    listed ? listed.parameters.has(name) || listed.buffers.has(name) : isParameterName(name);
  const trained: string[] = [];
  const kept: string[] = [];
  const done = new Set<Value>();
  const shared = new Set([...graph.constants.values()].filter(({ uses }) => uses.length > 1));
  const bearsName = (value: Value) => given(value.name) && !shared.has(value);
  for (const places of layers(graph)) {
    const module = moduleOfLayer(places, given);
    for (const { node, index, slot } of places) {
      const own = ownTensor(graph, node, index, module, slot, done, bearsName);
      if (done.has(own)) continue;
      done.add(own);
      (running.has(slot) ? kept : trained).push(own.name);
    }
  }
  for (const value of graph.constants.values()) {
    if (done.has(value) || !value.dtype?.startsWith('float') || graph.inputs.includes(value)) continue;
    if (!given(value.name) || isScale(value)) continue;
    const isBuffer = listed?.buffers.has(value.name) || untrained.test(value.name);
    (isBuffer ? kept : trained).push(value.name);
  }
  setParameters(graph, trained);
  setBuffers(graph, kept);
}

const isScale = ({ uses }: Value): boolean =>
  uses.length > 0 && uses.every(({ node, index }) => rowOf(scales, node)?.includes(index) ?? false);

/** The constants that each layer reads. */
function layers(graph: Graph): Place[][] {
  return graph.nodes.flatMap((node) => {
    const slots = rowOf(slotsOf, node) as Slots | undefined;
    const places = slots ? placesOf(node, slots) : node.op === 'MatMul' ? linearPlaces(graph, node) : [];
    return places.length ? [places] : [];
  });
}

const placesOf = (node: Node, slots: Slots): Place[] =>
  slots.flatMap((slot, index) => {
    const place = slot && storedAt(node, index);
    return place ? [{ ...place, slot, layer: node }] : [];
  });

/** Where a constant is read that a node is given, by itself or as the integers that it was rounded to. */
function storedAt(node: Node, index: number): Pick<Place, 'node' | 'index'> | undefined {
  const value = node.inputs[index];
  if (value?.isConstant) return { node, index };
  const stored = value?.producer?.op === 'DequantizeLinear' ? value.producer : undefined;
  return stored?.input(0).isConstant ? { node: stored, index: 0 } : undefined;
}

function linearPlaces(graph: Graph, node: Node): Place[] {
  const turn = node.input(1).producer;
  const turned = permutes(turn, [1, 0]);
  const stored = turned ? storedAt(turn, 0) : storedAt(node, 1);
  if (!stored || (stored.node === node && !turned)) return [];
  const places: Place[] = [{ ...stored, slot: 'weight', layer: turned ? turn : node }];
  const add = soleReader(graph, node.output());
  const bias = add?.op === 'Add' ? otherOperand(add, node.output()) : undefined;
  const channels = stored.node.input(stored.index).shape![turned ? 0 : 1];
  if (bias?.isConstant && bias.shape?.length === 1 && bias.shape[0] === channels) {
    places.push({ node: add!, index: add!.inputs.indexOf(bias), slot: 'bias', layer: add! });
  }
  return places;
}

function moduleOfLayer(places: readonly Place[], given: (name: string) => boolean): string | undefined {
  const computed = places.flatMap(({ layer }) => moduleOf(layer.output().name) ?? [])[0];
  if (computed !== undefined) return computed;
  for (const { node, index, slot } of places) {
    const { name } = node.input(index);
    if (given(name) && name.endsWith(`.${slot}`)) return name.slice(0, -slot.length - 1);
  }
  return undefined;
}

/** The tensor under its name in the module, a copy of its own where it is another module's too. */
function ownTensor(
  graph: Graph,
  node: Node,
  index: number,
  module: string | undefined,
  slot: string,
  done: ReadonlySet<Value>,
  bearsName: (value: Value) => boolean,
): Value {
  const value = node.input(index);
  const wanted = module === undefined ? undefined : `${module}.${slot}`;
  if (value.name === wanted) return value;
  const vector = value.shape!.length === 1 && value.uses.length > 1;
  if (wanted !== undefined && vector) {
    const own = graph.constants.get(wanted) ?? graph.addConstant(graph.uniqueName(wanted), value.tensor!);
    if (`${own.shape}` === `${value.shape}` && own.tensor === value.tensor) node.setInput(index, own);
    return node.input(index);
  }
  if (!done.has(value) && !bearsName(value) && (value.shape!.length === 1 || !isParameterName(value.name))) {
    graph.rename(value, graph.uniqueName(wanted ?? layerName(graph, slot)));
  }
  return value;
}

/** A name for a tensor of a layer of which nothing is known. */
function layerName(graph: Graph, slot: string): string {
  for (let i = 0; ; i++) {
    const name = `layers.${i}.${slot}`;
    if (graph.uniqueName(name) === name) return name;
  }
}

/** What the dynamo exporter lists of the module's state. */
function listedNames(graph: Graph): { parameters: Set<string>; buffers: Set<string> } | undefined {
  const signature = graph.metadata.get('pkg.torch.export.ExportedProgram.graph_signature');
  if (signature === undefined) return undefined;
  const targets = (kind: string) =>
    new Set([...signature.matchAll(new RegExp(`: ${kind} target='([^']+)'`, 'g'))].map(([, name]) => name!));
  return { parameters: targets('PARAMETER'), buffers: targets('BUFFER') };
}
