import type { Builder } from '../graph/builder.ts';
import type { Graph, Node, Value } from '../graph/graph.ts';
import { type Linear, linears } from '../graph/linear.ts';
import type { BesideLayer } from './beside.ts';
import { roundedToFour } from './block-activation.ts';
import { type BlockLinear, blockLinears } from './block-linear.ts';
import type { Quantization } from './record.ts';

/** The same for a Linear in four bits. */
interface BesideBlocks extends Pick<BesideLayer, 'off'> {
  readonly layer: Linear;
  readonly int8: BlockLinear;
}

/** As `besideLayers`, behind each Linear whose weight is in blocks of four bits in `quantized`. */
export function* besideBlocks(b: Builder, quantized: Graph, record: Quantization): Generator<BesideBlocks> {
  const { graph } = b;
  const inFour = new Map(blockLinears(quantized).map((layer) => [layer.output.name, layer]));
  for (const layer of linears(graph)) {
    const { input, output } = layer;
    const int4 = inFour.get(output.name);
    if (!int4) continue;
    b.before = graph.nodes[graph.nodes.indexOf(output.producer!) + 1];
    const read = record.activations === 'int4' ? roundedToFour(b, input, int4.blockSize) : input;
    const constants = [int4.weight, int4.weightScale].map(({ tensor }) => b.constant(tensor!, 'integers'));
    const product = blockProduct(b, int4.product, [read, ...constants]);
    const given = int4.bias ? b.op('Add', [product, b.constant(int4.bias.tensor!, 'bias')]) : product;
    yield { layer, int8: int4, off: b.op('Sub', [given, output]) };
  }
  b.before = undefined;
}

/** The product of a Linear in four bits once more, of other operands. */
export const blockProduct = (b: Builder, product: Node, operands: readonly (Value | undefined)[]): Value =>
  b.op(product.op, operands, Object.fromEntries(product.attributes));
