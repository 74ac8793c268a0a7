/**
 * Images a second that the loader prepares: photographs of 512 px as JPEG files, to 224 px with a random resized crop,
 * a flip and erasing. Run after `npm run build`:
 *
 *     node bench/loader.mjs [--images 512] [--batch-size 32]
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { batches, describeMachine, onnxruntime, openDataset, Random } from 'pqv-mobile/node';
import sharp from 'sharp';

const { values } = parseArgs({
  options: {
    images: { type: 'string', default: '512' },
    'batch-size': { type: 'string', default: '32' },
  },
});
const count = Number(values.images);
const folder = mkdtempSync(join(tmpdir(), 'loader-'));

/** Blobs of colour under a little noise: a JPEG of some 60 kB, as photographs of this size are. */
async function photograph(seed) {
  const random = new Random(seed);
  const coarse = Buffer.from(Array.from({ length: 24 * 24 * 3 }, () => random.below(256)));
  const smooth = await sharp(coarse, { raw: { width: 24, height: 24, channels: 3 } })
    .resize(512, 512, { kernel: 'cubic' })
    .raw()
    .toBuffer();
  for (let i = 0; i < smooth.length; i++) smooth[i] = Math.min(255, smooth[i] + random.below(16));
  return sharp(smooth, { raw: { width: 512, height: 512, channels: 3 } })
    .jpeg({ quality: 85 })
    .toBuffer();
}

try {
  const different = await Promise.all(Array.from({ length: 16 }, (_, i) => photograph(i)));
  for (let i = 0; i < count; i++) {
    const place = join(folder, 'train', `class${i % 4}`);
    mkdirSync(place, { recursive: true });
    writeFileSync(join(place, `${i}.jpg`), different[i % different.length]);
  }
  const { train } = await openDataset(join(folder));
  const preprocessing = {
    inputSize: [3, 224, 224],
    mean: [0.485, 0.456, 0.406],
    std: [0.229, 0.224, 0.225],
    interpolation: 'bicubic',
    cropPct: 0.9,
    cropMode: 'center',
  };
  const options = {
    engine: onnxruntime,
    batchSize: Number(values['batch-size']),
    augment: { crop: { kind: 'resized' }, flip: 0.5, erase: 0.25 },
    shuffle: { seed: 0, epoch: 0 },
  };
  const speeds = [];
  for (let repeat = 0; repeat < 4; repeat++) {
    const started = performance.now();
    let images = 0;
    for await (const { ids } of batches(train, preprocessing, options)) images += ids.length;
    const seconds = (performance.now() - started) / 1000;
    if (repeat > 0) speeds.push(images / seconds);
  }
  const kilobytes = different.reduce((sum, { length }) => sum + length, 0) / different.length / 1000;
  const { cpu, processorClass } = describeMachine(onnxruntime.name, 0);
  const [least, median, most] = speeds.toSorted((a, b) => a - b).map((speed) => speed.toFixed(0));
  console.log(`${cpu} (${processorClass})\n`);
  console.log('| images | kB each | images/s, median | least | most |\n|---|---|---|---|---|');
  console.log(`| ${count} | ${kilobytes.toFixed(0)} | ${median} | ${least} | ${most} |`);
} finally {
  rmSync(folder, { recursive: true });
}
