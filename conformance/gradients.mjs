/**
 * Gradients and AdamW steps for check_gradients.py. Request: { folder, batch, pixels, targets, steps, lr,
 * weightDecay, clipNorm, gradients, trained }; `pixels` and `targets` are files of float32, `gradients` and
 * `trained` the safetensors files to write. Answer: { losses, gradNorms }.
 */
import { readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import {
  Builder,
  backward,
  crossEntropy,
  loadModel,
  onnxruntime,
  parameters,
  runOnce,
  saveSafetensors,
  Tensor,
  Trainer,
} from 'pqv-mobile/node';

const request = JSON.parse(await text(process.stdin));
const floats = (path) => {
  const bytes = readFileSync(path);
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
};
const model = await loadModel(request.folder);
const classes = model.outputs[0].shape.at(-1);
const [input] = model.inputs;
const pixels = Tensor.float32([request.batch, ...input.shape.slice(1)], floats(request.pixels));
const targets = Tensor.float32([request.batch, classes], floats(request.targets));

const { graph } = model.clone();
const trained = parameters(graph);
const b = new Builder(graph);
const given = graph.addInput('targets', 'float32', ['N', classes]);
const found = backward(graph, crossEntropy(b, graph.outputs[0], given), trained);
graph.outputs.splice(0, graph.outputs.length, ...trained.map((value) => found.get(value)));
const results = await runOnce(onnxruntime, graph, { [input.name]: pixels, targets });
saveSafetensors(
  request.gradients,
  trained.map((value) => [value.name, results[found.get(value).name]]),
);

const trainer = await Trainer.create(onnxruntime, model, { clipNorm: request.clipNorm });
const losses = [];
const gradNorms = [];
for (let i = 0; i < request.steps; i++) {
  const { loss, gradNorm } = await trainer.train({ pixels, targets }, request.lr, request.weightDecay);
  losses.push(loss);
  gradNorms.push(gradNorm);
}
saveSafetensors(request.trained, Object.entries(trainer.parameters()));
await trainer.dispose();
process.stdout.write(JSON.stringify({ losses, gradNorms }));
