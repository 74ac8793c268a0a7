import { describe, expect, it } from 'vitest';
import { assertMatches, globMatcher } from './glob.ts';

const names = [
  'blocks.0.mlp.fc1.weight',
  'blocks.11.mlp.fc1.weight',
  'blocks.0.attn.qkv.bias',
  'head.weight',
];

describe('a pattern', () => {
  it.each([
    ['blocks.0.*', ['blocks.0.mlp.fc1.weight', 'blocks.0.attn.qkv.bias']],
    ['*.fc?.weight', ['blocks.0.mlp.fc1.weight', 'blocks.11.mlp.fc1.weight']],
    ['head.weight', ['head.weight']],
    ['head', []],
  ])('%s', (pattern, matched) => {
    expect(names.filter(globMatcher([pattern]))).toEqual(matched);
  });

  it.each([
    ['block.0.*', /^ignore: no tensor of the model matches "block\.0\.\*"; did you mean blocks\.0\.\*/],
    ['*.fc2.weight', /did you mean \*\.fc1\.weight/],
    ['blocks.*.mlp.fc2.weight', /did you mean blocks\.\*\.mlp\.fc1\.weight/],
    ['heads.weight', /did you mean head\.weight\?$/],
    ['something.else.altogether', /matches "something\.else\.altogether"$/],
  ])('%s that matches nothing is refused', (pattern, message) => {
    expect(() => assertMatches('ignore', ['head.*', pattern], names)).toThrow(message);
  });

  it('that matches something is not', () => {
    expect(() => assertMatches('ignore', ['head.*', '*'], names)).not.toThrow();
  });
});
