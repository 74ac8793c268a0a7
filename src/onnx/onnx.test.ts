import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { float } from '../graph/attribute.ts';
import { Builder } from '../graph/builder.ts';
import { checkGraph } from '../graph/check.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import { loadOnnx, saveOnnx } from './file.node.ts';
import { readOnnx } from './read.ts';
import { encodeOnnx, writeOnnx } from './write.ts';

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
