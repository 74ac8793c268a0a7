import { expect, it } from 'vitest';
import { describeMachine } from './machine.node.ts';
import { processorClass } from './processor-class.ts';

it.each([
  ['sse4_1 avx avx2 fma', 'x86, AVX2 without VNNI'],
  ['sse4_1 avx2 avx_vnni', 'x86, AVX2 with VNNI'],
  ['sse4_1 avx2 avx512f avx512bw', 'x86, AVX-512 without VNNI'],
  ['sse4_1 avx2 avx512bw avx512_vnni', 'x86, AVX-512 with VNNI'],
  ['sse4_1 avx2 avx512bw avx512_vnni amx_int8', 'x86, AMX'],
  ['ssse3 sse4_1', 'x86, SSE4'],
  ['fp asimd', 'Arm without dot products'],
  ['fp asimd asimddp', 'Arm with dot products'],
  ['', undefined],
])('flags "%s" are %s', (flags, name) => {
  expect(processorClass(flags.split(' '))).toBe(name);
});

it('is part of what is said of a machine', () => {
  expect(describeMachine('engine', 1).processorClass).toMatch(/^(x86|Arm|\w+, instructions unknown)/);
});
