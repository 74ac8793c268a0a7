import { Builder, Graph, linears, onnxruntime, Tensor } from 'pqv-mobile/node';

/** Products a session computes in one run, so that what goes in and out of it does not count. */
const pairs = 4;

/** The product of the Linear with the most weights and the one back, on the rows of a batch. */
export async function largestProduct(model, batch, threads) {
  const sizeOf = ({ weight }) => weight.shape[0] * weight.shape[1];
  const blocks = linears(model).filter(({ weight }) => weight.name.startsWith('blocks.'));
  const [{ weight, output }] = blocks.toSorted((a, b) => sizeOf(b) - sizeOf(a));
  const [n, k] = weight.shape;
  const rows = batch * output.shape[1];
  const graph = new Graph();
  const noise = (...shape) =>
    Tensor.float32(
      shape,
      Float32Array.from({ length: shape[0] * shape[1] }, () => (Math.random() - 0.5) / Math.sqrt(shape[0])),
    );
  const x = graph.addInput('x', 'float32', [rows, k]);
  const b = new Builder(graph);
  const up = graph.addConstant('up', noise(k, n));
  const down = graph.addConstant('down', noise(n, k));
  let y = x;
  for (let i = 0; i < pairs; i++) y = b.op('MatMul', [b.op('MatMul', [y, up]), down]);
  graph.outputs.push(y);
  const session = await onnxruntime.load(graph, { threads });
  const feeds = { x: noise(rows, k) };
  return {
    /** Multiply-accumulates a millisecond. */
    async rate() {
      let begin = performance.now();
      let done = -3;
      while (done < 3 || performance.now() - begin < 300) {
        await session.run(feeds);
        if (++done === 0) begin = performance.now();
      }
      return (done * 2 * pairs * rows * k * n) / (performance.now() - begin);
    },
    dispose: () => session.dispose(),
  };
}
