/** A thread of an image pool. */
import { parentPort, workerData } from 'node:worker_threads';
import { UserError } from '../common/errors.ts';
import { Random } from '../common/random.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { decodeImage } from './decode.node.ts';
import { imageBytes } from './image-bytes.node.ts';
import type { ImageAnswer, ImageRequest, WorkerSetup } from './image-pool.node.ts';
import { concurrencyLimit } from './limit.ts';
import { isLarge, trainPreparation } from './prepare.ts';
import { createResampler } from './resample.ts';

const { preprocessing, augment, options } = workerData as WorkerSetup;
const [channels, height, width] = preprocessing.inputSize;
const prepare = trainPreparation(preprocessing, augment, createResampler(onnxruntime, { threads: 1 }));
const oneByOne = concurrencyLimit(1);

async function answer({ id, source, keys }: ImageRequest): Promise<ImageAnswer> {
  try {
    const training = prepare(new Random(...keys));
    const image = await decodeImage(await imageBytes(source), options, training.viewer);
    const pixels = new Float32Array(channels * height * width);
    const write = () => training.write(image, pixels);
    await (isLarge(image) ? oneByOne.run(write) : write());
    return { id, pixels };
  } catch (error) {
    return {
      id,
      error: error instanceof Error ? error.message : `${error}`,
      isUsers: error instanceof UserError,
    };
  }
}

parentPort!.on('message', async (request: ImageRequest) => {
  const done = await answer(request);
  parentPort!.postMessage(done, 'pixels' in done ? [done.pixels.buffer as ArrayBuffer] : []);
});
