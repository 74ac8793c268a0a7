/**
 * A picture's five best classes by onnxruntime-web, after a self-test:
 *
 *     pqv export MODEL --format onnx -o site/model.onnx
 *     npm install onnxruntime-web esbuild
 *     cp node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm examples/web-onnxruntime/index.html site/
 *     npx esbuild examples/web-onnxruntime/main.ts --bundle --format=esm --outdir=site --servedir=site
 */
import * as ort from 'onnxruntime-web/wasm';
import type { Card } from '../app-card.ts';
import { serve } from '../web-page.ts';

const beside = (name: string) => new URL(name, document.baseURI).href;
ort.env.wasm.wasmPaths = { wasm: beside('ort-wasm-simd-threaded.wasm') };
const card: Card = await (await fetch('model.onnx.json')).json();
const session = await ort.InferenceSession.create(beside('model.onnx'));
const [{ name, shape }] = card.inputs as [Card['inputs'][number]];
const one = shape.map((length) => (typeof length === 'number' ? length : 1));

await serve(card, async (values) => {
  const input =
    values instanceof Uint8Array
      ? new ort.Tensor('uint8', values, one)
      : new ort.Tensor('float32', values, one);
  const found = await session.run({ [name]: input });
  return found[card.outputs[0]!.name]!.data as Float32Array;
});
