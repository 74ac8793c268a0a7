import { describe, expect, it } from 'vitest';
import { type Pickled, Tuple, tuple, writePickle } from '../../checkpoint/torch/pickle.ts';
import { readPickle } from '../../checkpoint/torch/unpickle.ts';
import { readZip, writeZip } from '../../checkpoint/torch/zip.ts';
import { Builder } from '../../graph/builder.ts';
import { Graph } from '../../graph/graph.ts';
import { Tensor } from '../../graph/tensor.ts';
import { quantizeDynamic } from '../../quantize/dynamic.ts';
import { onnxruntime } from '../../runtime/onnxruntime.node.ts';
import { initModel } from '../../zoo/model.ts';
import { checkArchive } from './check-archive.ts';
import { exportLite } from './lite.ts';
import { exportTorchScript } from './script.ts';

const model = () =>
  initModel({
    architecture: 'vit_tiny_patch16_224',
    modelArgs: { img_size: 32, embed_dim: 32, depth: 1, num_heads: 2 },
    numClasses: 3,
  });

function small() {
  const graph = new Graph('small');
  const x = graph.addInput('x', 'float32', ['N', 2]);
  const weight = graph.addConstant('w', Tensor.float32([2, 2], [1, 2, 3, 4]));
  const b = new Builder(graph);
  graph.outputs.push(b.op('Softmax', [b.op('Add', [b.op('MatMul', [x, weight]), x])]));
  return graph;
}

const inputOf = (bytes: Uint8Array) => ({
  size: bytes.length,
  read: (at: number, length: number) => bytes.slice(at, at + length),
});
const bytesOf = (pieces: Iterable<Uint8Array>) => new Uint8Array(Buffer.concat([...pieces]));

/** A Lite archive with an entry changed, or dropped where `edit` gives nothing. */
function damaged(name: string, edit: (bytes: Uint8Array) => Uint8Array | undefined) {
  const entries = readZip(inputOf(bytesOf(exportLite(small()))));
  const kept = entries.flatMap((entry) => {
    const bytes = entry.name === `model/${name}` ? edit(entry.bytes()) : entry.bytes();
    return bytes ? [{ name: entry.name, bytes: () => bytes }] : [];
  });
  return inputOf(bytesOf(writeZip(kept)));
}

/** The bytecode with its first instruction of a name changed. */
const instruction = (name: string, changed: (x: number, n: number) => [string, number, number] | undefined) =>
  damaged('bytecode.pkl', (bytes) => {
    let done = false;
    const walk = (value: Pickled): Pickled => {
      if (!(value instanceof Tuple)) return value;
      const [op, x, n] = value.items;
      if (!done && op === name && typeof x === 'number' && typeof n === 'number') {
        done = true;
        return tuple(...(changed(x, n) ?? []));
      }
      return new Tuple(value.items.map(walk));
    };
    const edited = writePickle(walk(readPickle(bytes)));
    expect(done).toBe(true);
    return edited;
  });

describe('checkArchive', () => {
  it('is content with what is written', async () => {
    const int8 = await quantizeDynamic(onnxruntime, model());
    for (const graph of [model(), int8, small()]) {
      checkArchive(inputOf(bytesOf(exportLite(graph))), 'lite');
      checkArchive(inputOf(bytesOf(exportTorchScript(graph))), 'torchscript');
    }
    checkArchive(inputOf(bytesOf(exportLite(model(), { xnnpack: true }))), 'lite');
  });

  it.each(['.data/version', 'data.pkl', 'data/0', 'bytecode.pkl'])('misses %s', (name) => {
    expect(() =>
      checkArchive(
        damaged(name, () => undefined),
        'lite',
      ),
    ).toThrow(`${name} is missing`);
  });

  it('sees storages of another size', () => {
    const cut = damaged('data/0', (bytes) => bytes.slice(4));
    expect(() => checkArchive(cut, 'lite')).toThrow('data/0 has 12 bytes, not 4 x 4');
  });

  it.each([
    ['LOAD', (x: number) => ['LOAD', x + 40, 0], /uses a register other than 1 to/],
    ['LOADC', () => ['LOADC', 99, 0], /points beyond its table/],
    ['OP', (x: number) => ['OP', x + 99, 0], /points beyond its table/],
    ['GET_ATTR', () => ['GET_ATTR', 7, 0], /points beyond its table/],
    ['STORE', (x: number) => ['DROPR', x, 0], /reads a register that holds nothing/],
    ['STOREN', (x: number, n: number) => ['STOREN', x, n - 1], /holds nothing/],
    ['GET_ATTR', () => ['STORE', 1, 0], /takes more than the stack holds/],
    ['RET', () => ['DROPR', 1, 0], /does not return/],
    ['OP', () => ['CALL', 0, 0], /none of the interpreter's/],
  ] as [string, (x: number, n: number) => [string, number, number], RegExp][])(
    'follows the instructions: %s',
    (name, changed, message) => {
      expect(() => checkArchive(instruction(name, changed), 'lite')).toThrow(message);
    },
  );
});
