/**
 * Training steps for check_batch_norm.py. Request: { folder, batches: [{ pixels, targets, state }], images, lr, momentum,
 * accumulate, emaDecay }; `pixels` and `targets` are files of float32, `state` the safetensors file to write after the
 * batch: everything that training has changed, by slot. Answer: { losses }.
 */
import { readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { loadModel, onnxruntime, saveSafetensors, Tensor, Trainer } from 'pqv-mobile/node';

const { folder, batches, images, lr, ...options } = JSON.parse(await text(process.stdin));
const floats = (path) => {
  const bytes = readFileSync(path);
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
};
const model = await loadModel(folder);
const classes = model.outputs[0].shape.at(-1);
const trainer = await Trainer.create(onnxruntime, model, {
  ...options,
  optimizer: 'sgd',
  batchNorm: 'train',
  threads: 1,
});
const losses = [];
for (const { pixels, targets, state } of batches) {
  const { loss } = await trainer.train(
    {
      pixels: Tensor.float32([images, ...model.inputs[0].shape.slice(1)], floats(pixels)),
      targets: Tensor.float32([images, classes], floats(targets)),
    },
    lr,
    0,
  );
  losses.push(loss);
  saveSafetensors(state, Object.entries(trainer.state.tensors));
}
await trainer.dispose();
process.stdout.write(JSON.stringify({ losses }));
