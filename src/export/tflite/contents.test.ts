import { Builder, type Offset } from 'flatbuffers';
import { describe, expect, it } from 'vitest';
import { quantizeDynamic } from '../../quantize/dynamic.ts';
import { onnxruntime } from '../../runtime/onnxruntime.node.ts';
import { initModel } from '../../zoo/model.ts';
import { tfliteContents } from './contents.ts';
import { exportTflite } from './export.ts';
import { fields } from './schema.ts';

const vit = () =>
  initModel({
    architecture: 'vit_tiny_patch16_224',
    modelArgs: { img_size: 32, embed_dim: 32, depth: 1, num_heads: 2 },
    numClasses: 3,
  });

/** Tables by place: what another tool writes, without our writer. */
class Foreign {
  readonly b = new Builder(256);

  table(values: Readonly<Record<number, { offset: Offset } | { int: number } | { byte: number }>>): Offset {
    const rows = Object.entries(values).map(([place, value]) => [Number(place), value] as const);
    this.b.startObject(Math.max(-1, ...rows.map(([place]) => place)) + 1);
    for (const [place, value] of rows) {
      if ('offset' in value) this.b.addFieldOffset(place, value.offset, 0);
      else if ('int' in value) this.b.addFieldInt32(place, value.int, 0x7fffffff);
      else this.b.addFieldInt8(place, value.byte, 0x7f);
    }
    return this.b.endObject();
  }

  list(items: readonly Offset[]): { offset: Offset } {
    this.b.startVector(4, items.length, 4);
    for (const item of items.toReversed()) this.b.addOffset(item);
    return { offset: this.b.endVector() };
  }

  ints(items: readonly number[]): { offset: Offset } {
    this.b.startVector(4, items.length, 4);
    for (const item of items.toReversed()) this.b.addInt32(item);
    return { offset: this.b.endVector() };
  }

  text = (text: string) => ({ offset: this.b.createString(text) });
  data = (bytes: Uint8Array) => ({ offset: this.b.createByteVector(bytes) });
}

/** An old converter's file: operators by their small numbers, one of them custom, no signature, a uint8 input, int64 constants. */
function foreign({ version = 3, code = 0, buffer = 1, tensor = 2 } = {}): Uint8Array {
  const f = new Foreign();
  const { model, subgraph, operatorCode, operator, quantization, metadata } = fields;
  const scale = new Float32Array([0.5]);
  const f32 = f.b;
  f32.startVector(4, 1, 4);
  f32.addFloat32(scale[0]!);
  const scales = { offset: f32.endVector() };
  f32.startVector(8, 1, 8);
  f32.addInt64(128n);
  const zeros = { offset: f32.endVector() };
  const rounded = { offset: f.table({ [quantization.scale]: scales, [quantization.zeroPoint]: zeros }) };
  const shape = f.ints([1, 2]);
  const pixels = f.table({
    [fields.tensor.shape]: f.ints([1, 2]),
    [fields.tensor.shapeSignature]: f.ints([-1, 2]),
    [fields.tensor.type]: { byte: 3 },
    [fields.tensor.name]: f.text('pixels\u001b[31m'),
    [fields.tensor.quantization]: rounded,
  });
  const constant = f.table({
    [fields.tensor.shape]: shape,
    [fields.tensor.type]: { byte: 4 },
    [fields.tensor.buffer]: { int: buffer },
    [fields.tensor.name]: f.text('offsets'),
  });
  const sum = f.table({ [fields.tensor.shape]: shape, [fields.tensor.type]: { byte: 0 } });
  const codes = [
    f.table({ [operatorCode.deprecatedCode]: { byte: 114 } }),
    f.table({ [operatorCode.deprecatedCode]: { byte: 32 }, [operatorCode.custom]: f.text('FlexErf') }),
  ];
  const operators = [0, 1].map((index) =>
    f.table({
      [operator.code]: { int: index === 0 ? code : 1 },
      [operator.inputs]: f.ints([0, -1]),
      [operator.outputs]: f.ints([tensor]),
    }),
  );
  const graph = f.table({
    [subgraph.tensors]: f.list([pixels, constant, sum]),
    [subgraph.inputs]: f.ints([0]),
    [subgraph.outputs]: f.ints([2]),
    [subgraph.operators]: f.list(operators),
  });
  const buffers = [f.table({}), f.table({ [fields.buffer.data]: f.data(new Uint8Array(16)) })];
  const note = f.table({ [metadata.name]: f.text('min_runtime_version'), [metadata.buffer]: { int: 1 } });
  f.b.finish(
    f.table({
      [model.version]: { int: version },
      [model.operatorCodes]: f.list(codes),
      [model.subgraphs]: f.list([graph]),
      [model.description]: f.text('an old converter'),
      [model.buffers]: f.list(buffers),
      [model.metadata]: f.list([note]),
    }),
    'TFL3',
  );
  return f.b.asUint8Array().slice();
}

describe('tfliteContents', () => {
  it('tells of a file of ours what its notes say, and its weights by type', async () => {
    const int8 = await quantizeDynamic(onnxruntime, vit(), {});
    const { model, inputs, outputs, operators, weights, remarks } = tfliteContents(
      await exportTflite(onnxruntime, int8),
      'm.tflite',
    );
    expect(inputs).toMatchObject([{ name: 'pixel_values', dtype: 'float32', shape: [1, 32, 32, 3] }]);
    expect(outputs).toMatchObject([{ name: 'logits', shape: [1, 3], quantization: null }]);
    expect(model).toMatchObject({
      architecture: 'vit_tiny_patch16_224',
      precision: expect.stringMatching(/^int8 dynamic/),
      preprocessing: { inputSize: [3, 32, 32], from: 'model' },
    });
    expect(operators).toMatchObject({ FULLY_CONNECTED: 5, DEQUANTIZE: 1, SOFTMAX: 1 });
    const [d, patch] = [32, 16 * 16 * 3];
    const int8s = d * 3 * d + d * d + 2 * d * 4 * d + 3 * d + patch * d;
    expect(weights.find(({ dtype }) => dtype === 'int8')).toMatchObject({ bytes: int8s, scales: 'channel' });
    expect(remarks).toEqual([]);
  });

  it('reads what other tools write, and names what it can not tell', () => {
    expect(tfliteContents(foreign(), 'other.tflite')).toEqual({
      writtenBy: 'an old converter',
      inputs: [
        {
          name: 'pixels\u001b[31m',
          tensor: 'pixels\u001b[31m',
          dtype: 'uint8',
          shape: [-1, 2],
          quantization: { scale: 0.5, zeroPoint: 128 },
        },
      ],
      outputs: [{ name: '', tensor: '', dtype: 'float32', shape: [1, 2], quantization: null }],
      operators: { FlexErf: 1, QUANTIZE: 1 },
      weights: [{ dtype: 'int64', tensors: 1, bytes: 16, scales: null }],
      model: null,
      metadata: [{ name: 'min_runtime_version', bytes: 16 }],
      remarks: [expect.stringMatching(/not built into LiteRT: "FlexErf"/)],
    });
  });

  it('refuses what does not hold together', () => {
    const refused = (bytes: Uint8Array) => () => tfliteContents(bytes, 'm.tflite');
    expect(refused(new Uint8Array(100))).toThrow('m.tflite is no TFLite file: "TFL3" is not at its start');
    expect(refused(foreign({ version: 2 }))).toThrow(/its schema has version 2/);
    expect(refused(foreign({ code: 9 }))).toThrow(/an operator that is not in its list/);
    expect(refused(foreign({ buffer: 7 }))).toThrow(/"offsets" has buffer 7 of 2/);
    expect(refused(foreign({ tensor: 3 }))).toThrow(/names tensor 3 of 3/);
    expect(refused(foreign({ tensor: -1 }))).toThrow(/names tensor -1 of 3/);
    const whole = foreign();
    for (let length = 0; length < whole.length; length += 7) {
      expect(refused(whole.subarray(0, length))).toThrow(
        /^m\.tflite is (no TFLite file|truncated or damaged|damaged)/,
      );
    }
  });

  it('is not drawn into counts that the file has no room for', () => {
    const whole = foreign();
    const view = new DataView(whole.buffer);
    let tried = 0;
    for (let at = 8; at + 4 <= whole.length; at += 4) {
      const before = view.getUint32(at, true);
      view.setUint32(at, 0x3fffffff, true);
      expect(() => {
        try {
          tfliteContents(whole, 'm.tflite');
        } catch (error) {
          if ((error as Error).name !== 'UserError') throw error;
          tried++;
        }
      }).not.toThrow();
      view.setUint32(at, before, true);
    }
    expect(tried).toBeGreaterThan(20);
  });

  it('is not drawn into reading one part again and again', () => {
    const f = new Foreign();
    const graphs = f.b;
    const big = f.ints(Array.from({ length: 2000 }, () => 0));
    const tensor = f.table({ [fields.tensor.shape]: big });
    const tensors = f.list(Array.from({ length: 2000 }, () => tensor));
    const graph = f.table({ [fields.subgraph.tensors]: tensors });
    graphs.finish(
      f.table({
        [fields.model.version]: { int: 3 },
        [fields.model.subgraphs]: f.list([graph]),
        [fields.model.buffers]: f.list([f.table({})]),
      }),
      'TFL3',
    );
    expect(() => tfliteContents(graphs.asUint8Array(), 'm.tflite')).toThrow(
      /damaged: its parts are used again and again/,
    );
  });
});
