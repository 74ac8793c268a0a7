import { describe, expect, it } from 'vitest';
import { Call, Float, type Pickled, type Tuple } from '../../checkpoint/torch/pickle.ts';
import { readPickle } from '../../checkpoint/torch/unpickle.ts';
import { readZip } from '../../checkpoint/torch/zip.ts';
import { float } from '../../graph/attribute.ts';
import { Builder } from '../../graph/builder.ts';
import { Graph } from '../../graph/graph.ts';
import { setBuffers, setParameters } from '../../graph/parameters.ts';
import { Tensor } from '../../graph/tensor.ts';
import { transposedMatrix } from '../transposed-matrix.ts';
import { exportLite } from './lite.ts';
import { lowerGraph } from './lower-graph.ts';
import { usedWeights } from './program.ts';
import { exportTorchScript } from './script.ts';

const ramp = (shape: number[]) =>
  Tensor.float32(
    shape,
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i / 7 - 1),
  );

/** Norm, Linear, GELU, residual, and a last Linear behind a scale. */
function mlp() {
  const graph = new Graph('mlp');
  const x = graph.addInput('pixel_values', 'float32', ['N', 5, 8]);
  const b = new Builder(graph);
  const parameter = (name: string, shape: number[]) => graph.addConstant(name, ramp(shape));
  const norm = b.op('LayerNormalization', [x, parameter('norm.weight', [8]), parameter('norm.bias', [8])], {
    epsilon: float(1e-6),
  });
  const rows = b.op('Transpose', [parameter('blocks.0.fc1.weight', [8, 8])], { perm: [1, 0] });
  const hidden = b.op('Add', [b.op('MatMul', [norm, rows]), parameter('blocks.0.fc1.bias', [8])]);
  const sum = b.op('Add', [b.op('Gelu', [hidden]), x]);
  const scaled = b.op('Mul', [sum, Tensor.scalar(0.125)]);
  const last = b.op('Transpose', [parameter('head.weight', [3, 8])], { perm: [1, 0] });
  const flat = b.op('Reshape', [b.op('MatMul', [scaled, last]), Tensor.int64([0, -1])]);
  graph.outputs.push(flat);
  setParameters(
    graph,
    [...graph.constants.keys()].filter((name) => /weight|bias/.test(name)),
  );
  graph.metadata.set('pqv.model', '{"numClasses":15}');
  return graph;
}

function int8() {
  const graph = new Graph('int8');
  const x = graph.addInput('x', 'float32', ['N', 4]);
  const weight = graph.addConstant(
    'fc.weight',
    new Tensor('int8', [4, 2], Int8Array.of(1, 2, 3, 4, 5, 6, 7, 8)),
  );
  const scale = graph.addConstant('fc.weight_scale', Tensor.float32([2], [0.5, 0.25]));
  const bias = graph.addConstant('fc.bias', ramp([2]));
  setParameters(graph, ['fc.weight', 'fc.bias']);
  const operands = [x, weight, scale, undefined, bias];
  graph.outputs.push(new Builder(graph).op('com.microsoft.DynamicQuantizeMatMul', operands));
  return graph;
}

const bytesOf = (pieces: Iterable<Uint8Array>) => new Uint8Array(Buffer.concat([...pieces]));

function open(pieces: Iterable<Uint8Array>) {
  const bytes = bytesOf(pieces);
  const entries = readZip({ size: bytes.length, read: (at, length) => bytes.slice(at, at + length) });
  return new Map(entries.map((entry) => [entry.name.replace(/^model\//, ''), entry.bytes()]));
}

const text = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes);
const items = (value: Pickled | undefined) => (value as Tuple).items;

/** The `forward` of a `.ptl`: instructions, and the tables they point into. */
function bytecode(graph: Graph) {
  const [, method] = items(readPickle(open(exportLite(graph)).get('bytecode.pkl')!));
  const rows = items(items(method)[1]).map((row) => items(row)[1]!);
  const instructions = items(rows[0]).map((row) => items(row) as [string, number, number]);
  const operators = items(rows[1]).map((row) => items(row) as [string, string, number]);
  return { instructions, operators, constants: items(rows[2]), registers: rows[4] as number };
}

describe('lowerGraph', () => {
  it('makes a Linear one call, leaves nothing behind, keeps the batch free', () => {
    const { calls } = lowerGraph(mlp());
    expect(calls.map((call) => call.operator)).toEqual([
      'aten::layer_norm',
      'aten::linear',
      'aten::gelu',
      'aten::add.Tensor',
      'aten::mul.Scalar',
      'aten::linear',
      'aten::reshape',
    ]);
    const target = calls.at(-1)!.args[1];
    expect(target).toMatchObject({ items: [{ value: -1 }, { value: 15 }] });
  });

  it('names the op and the node that have no lowering', () => {
    const graph = new Graph();
    const x = graph.addInput('x', 'float32', [2, 2]);
    graph.outputs.push(new Builder(graph).op('Det', [x], {}, 'volume'));
    expect(() => exportLite(graph)).toThrow(/^Det "volume" has no TorchScript lowering/);
    expect(() => exportTorchScript(graph)).toThrow(/Det "volume"/);
  });

  it('packs zero points of weights, uint8 ones moved to int8', () => {
    const graph = int8();
    const product = graph.nodes[0]!;
    const [weight, scale] = [product.input(1), product.input(2)];
    const source = weight.tensor!;
    const moved = Uint8Array.from(source.data as Int8Array, (number) => number + 128);
    graph.setConstant(weight, new Tensor('uint8', source.shape, moved));
    graph.setConstant(scale, Tensor.float32([2], [0.5, 0.25]));
    product.setInput(3, graph.addConstant('zero', new Tensor('uint8', [2], Uint8Array.of(128, 131))));
    const [packed] = usedWeights(lowerGraph(graph)).filter((stored) => stored.kind === 'packed');
    expect(packed).toMatchObject({ scales: [0.5, 0.25], zeroPoints: [0, 3] });
    const rows = transposedMatrix(source).data;
    expect([...(packed!.weight.data as Int8Array)]).toEqual([...(rows as Int8Array)]);
  });
});

describe('exportTorchScript', () => {
  it('writes modules with the parameters and a forward over them', () => {
    const source = text(open(exportTorchScript(mlp())).get('code/__torch__/pqv.py'));
    expect(source).toContain('__annotations__["0"] = __torch__.pqv.mlp_blocks_0\n');
    expect(source).toContain('  __parameters__ = ["weight", "bias", ]');
    expect(source).toContain('getattr(self.blocks, "0").fc1.weight, getattr(self.blocks, "0").fc1.bias)');
    expect(source).toContain('torch.gelu(v2, approximate="none")');
    expect(source).toContain('torch.mul(v4, 0.125)');
  });

  it('asks gradients for parameters', () => {
    const tensors: Call[] = [];
    const walk = (value: Pickled | undefined): void => {
      if (!(value instanceof Call)) return;
      if (`${value.callee}` === 'torch._utils._rebuild_tensor_v2') tensors.push(value);
      if (value.state instanceof Map) for (const item of value.state.values()) walk(item);
    };
    walk(readPickle(open(exportTorchScript(mlp())).get('data.pkl')!));
    expect(tensors.map((tensor) => tensor.args.items[4])).toEqual(Array(5).fill(true));
  });

  it('carries what is known of the model', () => {
    const notes = JSON.parse(text(open(exportTorchScript(mlp())).get('extra/pqv.json')));
    expect(notes).toEqual({ 'pqv.model': '{"numClasses":15}' });
  });
});

describe('exportLite', () => {
  it('reads no register after its last use, and reuses it', () => {
    const { instructions, operators, registers } = bytecode(mlp());
    const held = new Set<number>();
    let stack = 0;
    for (const [name, x, n] of instructions) {
      if (name === 'STOREN') for (let i = 0; i < n; i++) held.add(x + i);
      if (name === 'STORE') held.add(x);
      if (name === 'LOAD' || name === 'MOVE') expect(held).toContain(x);
      if (name === 'MOVE') held.delete(x);
      stack += { LOAD: 1, MOVE: 1, LOADC: 1, STORE: -1, LIST_CONSTRUCT: 1 - n }[name] ?? 0;
      if (name === 'OP') stack += 1 - operators[x]![2];
      expect(stack).toBeGreaterThanOrEqual(0);
    }
    expect(stack).toBe(1);
    expect([...held]).toEqual([1]);
    expect(registers).toBeLessThanOrEqual(3);
  });

  it('packs int8 weights as [out, in] with their scales, for 8-bit activations', () => {
    const archive = open(exportLite(int8()));
    expect([...archive.get('data/0')!]).toEqual([1, 3, 5, 7, 2, 4, 6, 8]);
    const { state } = readPickle(archive.get('data.pkl')!) as Call;
    const [[name, packed]] = [...(state as Map<string, Call>)] as [[string, Call]];
    expect(name).toBe('fc._packed_params');
    expect(`${packed.callee}`).toBe('__torch__.torch.classes.quantized.LinearPackedParamsBase');
    expect(new Float64Array(archive.get('data/1')!.slice().buffer)).toEqual(Float64Array.of(0.5, 0.25));
    expect(bytecode(int8()).constants).toEqual([false]);
  });

  it('tells floats from ints', () => {
    const { constants } = bytecode(mlp());
    expect(
      constants.filter((value) => value instanceof Float).map((value) => (value as Float).value),
    ).toEqual([1e-6, 0.125]);
  });

  it.each([exportLite, exportTorchScript])(
    '%o: the same graph gives the same bytes, time after time',
    (write) => {
      const pieces = write(mlp());
      const first = bytesOf(pieces);
      expect(bytesOf(pieces)).toEqual(first);
      expect(bytesOf(write(mlp()))).toEqual(first);
    },
  );
});

describe('a batch norm', () => {
  function norm(statistics: readonly string[]) {
    const graph = new Graph('norm');
    const x = graph.addInput('x', 'float32', ['N', 2, 4, 4]);
    const names = ['bn.weight', 'bn.bias', ...statistics];
    const tensors = names.map((name) => graph.addConstant(name, Tensor.float32([2], [1, 2])));
    graph.outputs.push(new Builder(graph).op('BatchNormalization', [x, ...tensors]));
    setParameters(graph, names.slice(0, 2));
    setBuffers(
      graph,
      names.slice(2).filter((name) => name.startsWith('bn')),
    );
    return graph;
  }
  const call = (graph: Graph) =>
    /torch\.batch_norm\(.*/.exec(text(open(exportTorchScript(graph)).get('code/__torch__/pqv.py')))![0];

  it('learns its statistics in training mode, as the module of PyTorch does', () => {
    const own = norm(['bn.running_mean', 'bn.running_var']);
    expect(call(own)).toMatch(/self\.training, 0\.1, 0\.00001, False\)$/);
    expect(() => [...exportLite(own)]).not.toThrow();
  });

  it('keeps statistics that are no buffers of the module', () => {
    expect(call(norm(['mean', 'variance']))).toMatch(/False, 0\.1, 0\.00001, False\)$/);
  });
});
