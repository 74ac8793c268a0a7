import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { float } from '../graph/attribute.ts';
import { Builder } from '../graph/builder.ts';
import { checkGraph } from '../graph/check.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import { loadOnnx, saveOnnx } from './file.node.ts';
import { ModelProtoSchema, type NodeProto } from './generated/onnx_pb.ts';
import { readOnnx } from './read.ts';
import { concatenate, encodeOnnx, writeOnnx } from './write.ts';

/** y = condition ? x + w : x - w, through subgraphs that read values of the outer graph. */
function branching(): Graph {
  const graph = new Graph('branching');
  graph.metadata.set('note', 'kept');
  const condition = graph.addInput('condition', 'bool', []);
  const x = graph.addInput('x', 'float32', ['N', 400]);
  const w = graph.addConstant(
    'w',
    Tensor.float32(
      [400],
      Float32Array.from({ length: 400 }, (_, i) => i / 7),
    ),
  );
  const branch = (op: string) => {
    const inner = new Graph(op, graph);
    inner.outputs.push(new Builder(inner).op(op, [x, w]));
    return inner;
  };
  const b = new Builder(graph);
  const y = b.op('If', [condition], {
    then_branch: { kind: 'graph', value: branch('Add') },
    else_branch: { kind: 'graph', value: branch('Sub') },
  });
  const z = b.op('Elu', [y], { alpha: float(0.25) }, 'z');
  graph.outputs.push(z);
  return graph;
}

const feeds = {
  condition: new Tensor('bool', [], Uint8Array.of(0)),
  x: Tensor.float32(
    [2, 400],
    Float32Array.from({ length: 800 }, (_, i) => Math.sin(i)),
  ),
};

describe('ONNX codec', () => {
  it('writes what the engine reads, and reads back what it wrote', async () => {
    const graph = branching();
    expect(checkGraph(graph)).toEqual([]);
    const bytes = writeOnnx(graph);
    const again = readOnnx(bytes);
    expect(checkGraph(again)).toEqual([]);
    expect(Buffer.compare(writeOnnx(again), bytes)).toBe(0);
    const a = await runOnce(onnxruntime, graph, feeds);
    const b = await runOnce(onnxruntime, again, feeds);
    expect(a.z!.data).toEqual(b.z!.data);
    expect(a.z!.floats[4]).toBeCloseTo(0.25 * Math.expm1(Math.sin(4) - 4 / 7), 5);
    expect(again.metadata.get('note')).toBe('kept');
  });

  it('keeps weights in a second file when asked, with page-aligned offsets', async () => {
    const graph = branching();
    const folder = mkdtempSync(join(tmpdir(), 'pqv-'));
    try {
      const { model, weights } = encodeOnnx(graph, 'w.data');
      const { writeFileWhole } = await import('../common/files.node.ts');
      writeFileWhole(join(folder, 'm.onnx'), model);
      writeFileWhole(join(folder, 'w.data'), weights!);
      const loaded = loadOnnx(join(folder, 'm.onnx'));
      expect(loaded.constants.get('w')!.tensor!.floats).toEqual(graph.constants.get('w')!.tensor!.floats);
      const session = await onnxruntime.load(join(folder, 'm.onnx'));
      const result = await session.run(feeds);
      expect(result.z!.shape).toEqual([2, 400]);
      await session.dispose();
      saveOnnx(loaded, join(folder, 'single.onnx'));
      expect(loadOnnx(join(folder, 'single.onnx')).constants.get('w')!.tensor!.size).toBe(400);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('takes nodes in any order, and refuses a cycle and what nothing makes', async () => {
    const whole = () => fromBinary(ModelProtoSchema, writeOnnx(branching()));
    const turned = whole();
    turned.graph!.node.reverse();
    const graph = readOnnx(toBinary(ModelProtoSchema, turned));
    expect(checkGraph(graph)).toEqual([]);
    const [a, b] = [await runOnce(onnxruntime, graph, feeds), await runOnce(onnxruntime, branching(), feeds)];
    expect(a.z!.data).toEqual(b.z!.data);
    const broken = (change: (nodes: NodeProto[]) => void) => {
      const model = whole();
      change(model.graph!.node);
      return () => readOnnx(toBinary(ModelProtoSchema, model));
    };
    expect(broken((nodes) => nodes[0]!.input.splice(0, 1, nodes.at(-1)!.output[0]!))).toThrow(
      /form a cycle through/,
    );
    expect(broken((nodes) => nodes[0]!.input.splice(0, 1, 'no\nwhere'))).toThrow(
      'reads "no\\nwhere", which nothing',
    );
  });

  it('reads weights from the folder of the model only, as bytes that are there', () => {
    const folder = mkdtempSync(join(tmpdir(), 'pqv-'));
    const model = join(folder, 'inner', 'm.onnx');
    try {
      mkdirSync(join(folder, 'inner'));
      writeFileSync(join(folder, 'secret'), Buffer.alloc(8192));
      symlinkSync(join(folder, 'secret'), join(folder, 'inner', 'link'));
      const at = (location: string, offset = '0') => {
        const proto = fromBinary(ModelProtoSchema, concatenate(encodeOnnx(branching(), 'w.data').model));
        for (const { externalData } of proto.graph!.initializer) {
          for (const entry of externalData) {
            if (entry.key === 'location') entry.value = location;
            if (entry.key === 'offset') entry.value = offset;
          }
        }
        writeFileSync(model, toBinary(ModelProtoSchema, proto));
        return () => loadOnnx(model);
      };
      for (const outside of ['../secret', '/dev/zero', 'a\0b', 'link', 'x/../../secret']) {
        expect(at(outside)).toThrow(/leaves the model's folder/);
      }
      expect(at('y'.repeat(5000))).toThrow(/the name is too long/);
      writeFileSync(join(folder, 'inner', 'w.data'), Buffer.alloc(8192));
      for (const place of ['0.5', 'x', '-8', '1e300', '9000'])
        expect(at('w.data', place)).toThrow(/the model wants/);
      expect(at('w.data')).not.toThrow();
      // As the Hub's cache has it: model and weights are links to files side by side.
      const links = join(folder, 'links');
      mkdirSync(links);
      for (const name of ['m.onnx', 'w.data']) symlinkSync(join(folder, 'inner', name), join(links, name));
      expect(() => loadOnnx(join(links, 'm.onnx'))).not.toThrow();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('refuses nonsense in one line', () => {
    expect(() => readOnnx(Uint8Array.of(1, 2, 3))).toThrow(/not an ONNX model/);
    expect(() => readOnnx(new Uint8Array())).toThrow(/no graph/);
    expect(() => loadOnnx('nowhere.onnx')).toThrow(/can't read nowhere.onnx: no such file/);
  });

  it('refuses a tensor whose bytes do not fill its shape', () => {
    const bytes = writeOnnx(branching());
    const at = Buffer.from(bytes).lastIndexOf(Buffer.from([0x08, 0x90, 0x03]));
    expect(at).toBeGreaterThan(0);
    bytes[at + 2] = 0x04;
    expect(() => readOnnx(bytes)).toThrow(/tensor "w": float32\[528\] needs 2112 bytes, the file has 1600/);
  });
});
