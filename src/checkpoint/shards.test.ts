import { expect, it } from 'vitest';
import { UserError } from '../common/errors.ts';
import { Tensor } from '../graph/tensor.ts';
import { fromShards, readShardIndex } from './shards.ts';

const index = (map: unknown) => readShardIndex(JSON.stringify({ weight_map: map }), 'index.json');
const one = Tensor.float32([1], [1]);

it('gathers tensors from the files that an index names, each opened once', () => {
  const opened: string[] = [];
  const tensors = fromShards(index({ a: '1.bin', b: '2.bin', c: '1.bin' }), (file) => {
    opened.push(file);
    return new Map(
      file === '1.bin'
        ? [
            ['a', one],
            ['c', one],
          ]
        : [['b', one]],
    );
  });
  expect([...tensors.keys()]).toEqual(['a', 'b', 'c']);
  expect(opened).toEqual(['1.bin', '2.bin']);
});

it.each([
  ['{', /index\.json is not JSON/],
  ['[]', /no weight_map/],
  ['{"weight_map": {"a": "../../etc/passwd"}}', /"\.\.\/\.\.\/etc\/passwd", which is no file beside it/],
  ['{"weight_map": {"a": "/etc/passwd"}}', /no file beside it/],
  ['{"weight_map": {"a": 3}}', /no file beside it/],
])('refuses %s', (text, message) => {
  expect(() => readShardIndex(text, 'index.json')).toThrow(message);
  expect(() => readShardIndex(text, 'index.json')).toThrow(UserError);
});

it('names the file that lacks a tensor', () => {
  expect(() => fromShards(index({ a: '1.bin' }), () => new Map())).toThrow(/1\.bin lacks tensor "a"/);
});
