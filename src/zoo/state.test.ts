import { describe, expect, it } from 'vitest';
import { buffers, parameters } from '../graph/parameters.ts';
import { Tensor } from '../graph/tensor.ts';
import type { Graph } from '../graph/types.ts';
import { readOnnx } from '../onnx/read.ts';
import { writeOnnx } from '../onnx/write.ts';
import { CheckpointNotes } from './checkpoint-notes.ts';
import { Layers } from './layers/layers.ts';
import {
  checkpointParameters,
  type ParameterSource,
  randomParameters,
  zeroParameters,
} from './parameter-source.ts';
import { stateDict } from './state.ts';
import { stateHash } from './state-hash.ts';

/** A state dict of every kind: a parameter with a second name, a buffer, an index, a counter. */
function build(source: ParameterSource): Graph {
  const layers = new Layers('model', source);
  const x = layers.images(1, [2, 2]);
  const shift = layers.parameter('shift', [2], { kind: 'normal', std: 1 });
  layers.alias('other.shift', shift);
  const mean = layers.buffer('mean', [2], { kind: 'constant', value: 3 });
  const index = layers.buffer('index', [2], { kind: 'computed', values: () => [1, 0] }, 'int64');
  layers.counter('count');
  const b = layers.builder;
  const moved = b.op('Add', [b.op('Add', [x, shift]), mean]);
  return layers.finish(b.op('Gather', [moved, index], { axis: 3 }));
}

const names = ['shift', 'mean', 'index', 'other.shift', 'count'];

describe('a state dict', () => {
  it('has parameters, buffers, further names and counters', () => {
    const graph = build(randomParameters(1));
    const state = stateDict(graph);
    expect([...state.keys()]).toEqual(names);
    expect(parameters(graph).map(({ name }) => name)).toEqual(['shift']);
    expect(buffers(graph).map(({ name }) => name)).toEqual(['mean', 'index']);
    expect(state.get('other.shift')).toBe(state.get('shift'));
    expect(state.get('index')!.integers).toEqual([1, 0]);
    expect(state.get('count')).toMatchObject({ dtype: 'int64', shape: [], integers: [0] });
  });

  it('is the same after ONNX and back', async () => {
    const graph = build(randomParameters(1));
    const back = readOnnx(await writeOnnx(graph));
    expect([...stateDict(back).keys()]).toEqual(names);
    expect(await stateHash(back)).toBe(await stateHash(graph));
    back.metadata.clear();
    expect(await stateHash(back)).toBeNull();
  });

  it('is read from a checkpoint that may lack counters and further names', () => {
    const tensors = stateDict(build(randomParameters(1)));
    const read = (changed: ReadonlyMap<string, Tensor>) => {
      const { source, finish } = checkpointParameters(changed, new CheckpointNotes('file'));
      const graph = build(source);
      finish();
      return stateDict(graph);
    };
    const counted = new Map(tensors).set('count', Tensor.scalar(7, 'int64'));
    expect(read(counted).get('count')!.integers).toEqual([7]);
    const without = (name: string) => new Map([...tensors].filter(([key]) => key !== name));
    expect(read(without('count')).get('count')!.integers).toEqual([0]);
    expect(read(without('other.shift')).get('other.shift')).toBe(tensors.get('shift'));
    expect(() => read(without('shift'))).toThrow(/file lacks tensor shift \[2\]/);
    expect(() => read(without('mean'))).toThrow(/file lacks tensor mean \[2\]/);
    expect(() => read(new Map(tensors).set('index', Tensor.float32([2], [1, 0])))).toThrow(
      /tensor "index" is float32, the architecture expects int64/,
    );
  });

  it('costs nothing where only shapes are asked for', () => {
    const state = stateDict(build(zeroParameters));
    expect(state.get('index')!.dtype).toBe('int64');
    expect([...state.get('mean')!.floats]).toEqual([0, 0]);
  });
});
