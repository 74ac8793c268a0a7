/**
 * A picture's five best classes by LiteRT.js, after a self-test:
 *
 *     pqv export MODEL --format tflite -o site/model.tflite
 *     npm install @litertjs/core esbuild
 *     cp -r node_modules/@litertjs/core/wasm examples/web-litert/index.html site/
 *     npx esbuild examples/web-litert/main.ts --bundle --format=esm --outdir=site --servedir=site
 */
import { loadAndCompile, loadLiteRt, Tensor } from '@litertjs/core';
import type { Card } from '../app-card.ts';
import { serve } from '../web-page.ts';

const card: Card = await (await fetch('model.tflite.json')).json();
// Threads need a page that is isolated (COOP and COEP headers); LiteRT.js throws without.
await loadLiteRt('wasm/', { threads: crossOriginIsolated });
const model = await loadAndCompile('model.tflite', { accelerator: 'wasm' });
const shape = card.inputs[0]!.shape.map(Number);

await serve(card, async (values) => {
  const input = new Tensor(values, shape);
  const [output] = await model.run([input]);
  const scores = await output!.data();
  input.delete();
  output!.delete();
  return scores;
});
