/**
 * Images a second that the loader prepares: photographs of 512 px as JPEG files, to 224 px with a random resized crop,
 * a flip and erasing, and with RandAugment between them. Run after `npm run build`:
 *
 *     node bench/loader.mjs [--images 512] [--batch-size 32] [--workers 2]
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
    workers: { type: 'string', default: '2' },
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
  const plain = { crop: { kind: 'resized' }, flip: 0.5, erase: 0.25 };
  const full = { ...plain, randAugment: 'rand-m9-mstd0.5-inc1' };
  const rows = Object.entries({ plain, full }).flatMap(([name, augment]) =>
    [0, Number(values.workers)].map((workers) => ({ name, augment, workers, speeds: [] })),
  );
  for (const row of rows)
    row.pool = row.workers ? train.pool(row.workers, { preprocessing, augment: row.augment }) : undefined;
  for (let repeat = 0; repeat < 4; repeat++) {
    for (const { augment, pool, speeds } of rows) {
      const options = { engine: onnxruntime, batchSize: Number(values['batch-size']), augment, pool };
      const started = performance.now();
      let images = 0;
      const shuffle = { seed: 0, epoch: repeat };
      for await (const { ids } of batches(train, preprocessing, { ...options, shuffle }))
        images += ids.length;
      if (repeat > 0) speeds.push((1000 * images) / (performance.now() - started));
    }
  }
  await Promise.all(rows.map(({ pool }) => pool?.close()));
  const kilobytes = different.reduce((sum, { length }) => sum + length, 0) / different.length / 1000;
  const { cpu, processorClass } = describeMachine(onnxruntime.name, 0);
  console.log(`${cpu} (${processorClass}); ${count} images of ${kilobytes.toFixed(0)} kB\n`);
  console.log('| augmentation | workers | images/s, median | least | most |\n|---|--:|--:|--:|--:|');
  for (const { name, workers, speeds } of rows) {
    const [least, median, most] = speeds.toSorted((a, b) => a - b).map((speed) => speed.toFixed(0));
    console.log(`| ${name} | ${workers} | ${median} | ${least} | ${most} |`);
  }
} finally {
  rmSync(folder, { recursive: true });
}
