import { describe, expect, it } from 'vitest';
import { Builder } from '../../graph/builder.ts';
import { Graph } from '../../graph/graph.ts';
import { elementCount, Tensor } from '../../graph/tensor.ts';
import { quantizeDynamic } from '../../quantize/dynamic.ts';
import { onnxruntime } from '../../runtime/onnxruntime.node.ts';
import { initModel } from '../../zoo/model.ts';
import { checkTflite } from './check-file.ts';
import { exportTflite } from './export.ts';
import { lowerGraph, singleImage } from './lower-graph.ts';
import { encodeTflite } from './write.ts';

const vit = () =>
  initModel({
    architecture: 'vit_tiny_patch16_224',
    modelArgs: { img_size: 32, embed_dim: 32, depth: 2, num_heads: 2 },
    numClasses: 3,
  });

/** A graph of one op on numbers [1, 4]. */
function single(
  make: (b: Builder, x: ReturnType<Graph['addInput']>) => ReturnType<Graph['addInput']>,
): Graph {
  const graph = new Graph();
  const x = graph.addInput('x', 'float32', [1, 4]);
  graph.outputs.push(make(new Builder(graph), x));
  return graph;
}

describe('exportTflite', () => {
  it('writes a ViT for one image, channels last, in operators that XNNPACK takes', async () => {
    const found = checkTflite(await exportTflite(onnxruntime, vit()));
    expect(found.inputs).toEqual(['pixel_values [1,32,32,3]']);
    expect(found.outputs).toEqual([expect.stringMatching(/ \[1,3\]$/)]);
    // Two blocks: qkv, proj, fc1, fc2 each, and the head; two norms each, and the last: two means a norm.
    expect(found.operators).toMatchObject({
      FULLY_CONNECTED: 9,
      BATCH_MATMUL: 4,
      SOFTMAX: 2,
      GELU: 2,
      CONV_2D: 1,
      RSQRT: 5,
      MEAN: 10,
    });
    expect(found.metadata.length).toBeGreaterThan(0);
  });

  it('keeps int8 weights as rows of outputs with a scale each', async () => {
    const graph = await quantizeDynamic(onnxruntime, vit(), {});
    const program = lowerGraph(singleImage(graph));
    const layers = program.operators.filter(({ builtin }) => builtin === 'FULLY_CONNECTED');
    const int8 = layers.filter(({ inputs }) => inputs[1]!.dtype === 'int8');
    expect(int8.length).toBeGreaterThanOrEqual(8);
    for (const { inputs, options } of int8) {
      expect(inputs[1]!.scales).toHaveLength(inputs[1]!.shape[0]!);
      expect(options).toMatchObject({ asymmetricQuantizeInputs: true });
    }
    const kernels = program.operators.filter(({ builtin }) => builtin === 'DEQUANTIZE');
    expect(kernels.map(({ inputs: [kernel] }) => kernel)).toMatchObject([{ dtype: 'int8', scaledAxis: 0 }]);
    const dense = await exportTflite(onnxruntime, vit());
    const saved = dense.length - (await exportTflite(onnxruntime, graph)).length;
    // Three bytes an element, less a scale and a zero point of 12 bytes a row.
    const elements = int8.reduce((sum, { inputs }) => sum + elementCount(inputs[1]!.shape), 0);
    expect(saved).toBeGreaterThan(2.5 * elements);
  });

  it('names op and node that have no form', () => {
    const graph = single((b, x) => b.op('Asin', [x], {}, 'odd'));
    expect(() => lowerGraph(graph)).toThrow(/Asin "odd" has no TFLite lowering/);
    const steep = single((b, x) => b.op('Elu', [x], { alpha: { kind: 'float', value: 0.5 } }, 'steep'));
    expect(() => lowerGraph(steep)).toThrow(/Elu "steep": its alpha is 0.5, not 1/);
  });

  it('writes Erf by the exact GELU, a Softmax along another axis between two TRANSPOSE', () => {
    const builtins = (graph: Graph) => lowerGraph(graph).operators.map(({ builtin }) => builtin);
    expect(builtins(single((b, x) => b.op('Erf', [x])))).toEqual(
      expect.arrayContaining(['ABS', 'GELU', 'DIV', 'SIGN']),
    );
    const sideways = single((b, x) => b.op('Softmax', [x], { axis: 0 }));
    sideways.opsets.set('', 18);
    expect(builtins(sideways)).toEqual(['TRANSPOSE', 'SOFTMAX', 'TRANSPOSE']);
  });

  it('carries the types of what is compared and chosen', () => {
    const graph = single((b, x) => b.op('Where', [b.op('Less', [x, b.op('Neg', [x])]), x, b.op('Abs', [x])]));
    const program = lowerGraph(graph);
    const less = program.operators.find(({ builtin }) => builtin === 'LESS')!;
    expect(less.outputs[0]!.dtype).toBe('bool');
    expect(program.outputs[0]!.tensor.dtype).toBe('float32');
    checkTflite(encodeTflite(program));
  });

  it('refuses files over 2 GB before it reads a weight', () => {
    const huge = new Tensor('float32', [2 ** 27, 4], () => {
      throw new Error('read');
    });
    const graph = single((b, x) => b.op('Add', [x, b.graph.addConstant('huge', huge)]));
    expect(() => encodeTflite(lowerGraph(graph))).toThrow(/larger than the 2 GB/);
  });
});

describe('checkTflite', () => {
  it('refuses what is no such file, and constants without their bytes', () => {
    const graph = single((b, x) =>
      b.op('Add', [x, b.graph.addConstant('w', Tensor.float32([4], [1, 2, 3, 4]))]),
    );
    const program = lowerGraph(graph);
    expect(checkTflite(encodeTflite(program)).operators).toEqual({ ADD: 1 });
    expect(() => checkTflite(new Uint8Array(64))).toThrow(/no TFLite file/);
    const [add] = program.operators;
    const short = { ...add!.inputs[1]!, shape: [5] };
    const broken = { ...program, operators: [{ ...add!, inputs: [add!.inputs[0], short] }] };
    expect(() => checkTflite(encodeTflite(broken))).toThrow(/w has 16 bytes, not 20/);
    const early = { ...program, operators: [{ ...add!, inputs: [add!.outputs[0], add!.inputs[1]] }] };
    expect(() => checkTflite(encodeTflite(early))).toThrow(/ADD reads a tensor before it is made/);
  });
});
