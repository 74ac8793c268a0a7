import { expect, it } from 'vitest';
import { Builder } from '../graph/builder.ts';
import { Graph } from '../graph/graph.ts';
import { Tensor } from '../graph/tensor.ts';
import { writeOnnx } from '../onnx/write.ts';
import { modelInfo } from './model-info.ts';
import { readModel } from './read-model.ts';

it('says of a graph from elsewhere what was done to it, and honours the files beside it', () => {
  const graph = new Graph('foreign');
  const half = new Tensor('float16', [3, 2], new Uint16Array(6).fill(0x3c00));
  const images = graph.addInput('images', 'float16', ['N', 3, 4, 4]);
  const pooled = new Builder(graph).op('GlobalAveragePool', [images]);
  const features = new Builder(graph).op('Flatten', [pooled]);
  graph.outputs.push(new Builder(graph).op('MatMul', [features, half], {}, 'scores'));
  const lines: string[] = [];
  const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const files = {
    'model.onnx': writeOnnx(graph),
    'config.json': bytes({ mean: [0.1, 0.2, 0.3], std: [0.5, 0.5, 0.5], label_names: ['cat', 'dog'] }),
  };
  const read = readModel(files, { say: (line) => lines.push(line) });
  expect(lines).toEqual([expect.stringMatching(/float16.*float32/)]);
  expect(modelInfo(read)).toMatchObject({
    numClasses: 2,
    preprocessing: { mean: [0.1, 0.2, 0.3] },
    preprocessingFrom: 'config',
  });
});
