import type { Graph, Node } from '../graph/graph.ts';
import { otherOperand, soleReader } from '../graph/patterns.ts';
import { argumentsOf } from '../graph/schema/arguments.ts';
import { Tensor } from '../graph/tensor.ts';
import type { QuantizedLayer } from './quantized-layer.ts';

/** A Linear whose weight is in blocks of four bits, as `quantizeInt4` writes it. */
export interface BlockLinear extends QuantizedLayer {
  readonly blockSize: number;
  readonly inputs: number;
  readonly outputs: number;
}

/** The Linear in four bits whose product this node is; undefined when it is none. */
export function matchBlockLinear(graph: Graph, product: Node): BlockLinear | undefined {
  if (product.op !== 'com.microsoft.MatMulNBits') return undefined;
  const {
    bits,
    block_size: blockSize,
    K: inputs,
    N: outputs,
  } = argumentsOf<'com.microsoft.MatMulNBits'>(product);
  const [input, weight, weightScale] = [product.input(0), product.input(1), product.input(2)];
  if (bits !== 4 || product.inputs[3] || !weight.isConstant || !weightScale.isConstant) return undefined;
  const add = soleReader(graph, product.output());
  const other = add?.op === 'Add' ? otherOperand(add, product.output()) : undefined;
  const bias = other?.isConstant && other.shape?.length === 1 ? other : undefined;
  return {
    ...{ product, input, activation: undefined, weight, weightScale, bias, blockSize, inputs, outputs },
    output: bias ? add!.output() : product.output(),
  };
}

/** Every Linear in four bits of the graph, in order. */
export const blockLinears = (graph: Graph): BlockLinear[] =>
  graph.nodes.flatMap((node) => matchBlockLinear(graph, node) ?? []);

/**
 * Whole numbers from -8 to 7 of a matrix `[in, out]`, as `com.microsoft.MatMulNBits` takes them: uint8 `[out, blocks, size / 2]`,
 * 8 added, two a byte, the first in its lower half. What a last block lacks is 0.
 */
export function packed(
  integers: ArrayLike<number>,
  { blockSize, inputs, outputs }: Pick<BlockLinear, 'blockSize' | 'inputs' | 'outputs'>,
): Tensor {
  const blocks = Math.ceil(inputs / blockSize);
  const bytes = new Uint8Array((outputs * blocks * blockSize) / 2);
  for (let o = 0; o < outputs; o++) {
    for (let i = 0; i < blocks * blockSize; i++) {
      const stored = 8 + (i < inputs ? integers[i * outputs + o]! : 0);
      bytes[(o * blocks * blockSize + i) >> 1]! |= stored << (i & 1 ? 4 : 0);
    }
  }
  return new Tensor('uint8', [outputs, blocks, blockSize / 2], bytes);
}

/** The whole numbers `[in, out]` that such bytes hold. */
export function unpacked({ weight, blockSize, inputs, outputs }: BlockLinear): Int8Array {
  const bytes = weight.tensor!.data as Uint8Array;
  const width = Math.ceil(inputs / blockSize) * blockSize;
  return Int8Array.from({ length: inputs * outputs }, (_, at) => {
    const [i, o] = [Math.floor(at / outputs), at % outputs];
    const byte = bytes[(o * width + i) >> 1]!;
    return (i & 1 ? byte >> 4 : byte & 15) - 8;
  });
}
