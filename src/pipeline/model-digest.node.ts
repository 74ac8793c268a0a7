import { createHash, type Hash } from 'node:crypto';
import type { Attribute } from '../graph/attribute.ts';
import type { Graph } from '../graph/graph.ts';
import type { Tensor } from '../graph/tensor.ts';

/** The content of a model: its notes, its nodes and every number in it. Weights are read one after the other. */
export function modelDigest(graph: Graph): string {
  const hash = createHash('sha256');
  addGraph(hash, graph);
  return hash.digest('hex').slice(0, 16);
}

function addGraph(hash: Hash, graph: Graph): void {
  const add = (...parts: unknown[]) => hash.update(`${JSON.stringify(parts, plain)}\n`);
  add([...graph.opsets], [...graph.metadata]);
  for (const { name, dtype, shape } of graph.inputs) add('input', name, dtype, shape);
  for (const { name, tensor } of graph.constants.values()) {
    add('constant', name);
    addTensor(hash, tensor!);
  }
  for (const { op, inputs, outputs, attributes } of graph.nodes) {
    add(op, names(inputs), names(outputs));
    for (const [name, attribute] of attributes) {
      add(name, attribute.kind);
      addAttribute(hash, attribute);
    }
  }
  add('outputs', names(graph.outputs));
}

const names = (values: readonly ({ readonly name: string } | undefined)[]) =>
  values.map((value) => value?.name ?? '');

function addAttribute(hash: Hash, { kind, value }: Attribute): void {
  if (kind === 'graph') addGraph(hash, value);
  else if (kind === 'tensor') addTensor(hash, value);
  else hash.update(`${JSON.stringify(value, plain)}\n`);
}

function addTensor(hash: Hash, tensor: Tensor): void {
  hash.update(`${tensor.dtype}[${tensor.shape}]\n`);
  if (tensor.dtype === 'string') hash.update(JSON.stringify(tensor.data));
  else hash.update(tensor.bytes);
  tensor.release();
}

/** JSON has no whole numbers of 64 bits. */
const plain = (_: string, value: unknown) => (typeof value === 'bigint' ? `${value}` : value);
