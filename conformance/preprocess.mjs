// Prepares the images that `check_preprocess.py` wrote with our own code and compares:
// `node conformance/preprocess.mjs DIR`.
// A case passes when 99 % of its values are within 2 grey levels of Pillow's. Needs `npm run build`.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createResampler, decodeFile, evalPreparation, fromTimmConfig, onnxruntime } from 'pqv-mobile/node';
import sharp from 'sharp';

const dir = process.argv[2];
if (!dir) {
  console.error('usage: node conformance/preprocess.mjs DIR');
  process.exit(2);
}

const resampler = createResampler(onnxruntime);
const cases = JSON.parse(readFileSync(join(dir, 'cases.json'), 'utf8'));
let failed = 0;
let values = 0;
let different = 0;
let worst = { beyond: 0, largest: 0, name: '' };
for (const { image, config, expected, samples } of cases) {
  const preprocessing = fromTimmConfig(config, image);
  const [channels, height, width] = preprocessing.inputSize;
  const area = height * width;
  const ours = new Float32Array(channels * area);
  await evalPreparation(preprocessing, resampler)(await decodeFile(join(dir, image)), ours);
  const theirs = await sharp(join(dir, expected))
    .toColourspace(channels === 1 ? 'b-w' : 'srgb')
    .raw()
    .toBuffer();
  const level = (i) =>
    (ours[i] * preprocessing.std[Math.floor(i / area)] + preprocessing.mean[Math.floor(i / area)]) * 255;
  const distance = (i) => Math.abs(level(i) - theirs[(i % area) * channels + Math.floor(i / area)]);
  let beyond = 0;
  let largest = 0;
  for (let i = 0; i < ours.length; i++) {
    const levels = Math.round(distance(i));
    largest = Math.max(largest, levels);
    if (levels > 2) beyond++;
    if (levels > 0) different++;
  }
  values += ours.length;
  // Where the grey levels agree, so must the normalized floats.
  const wrongFloat = samples.find(([i, float]) => distance(i) < 0.5 && Math.abs(ours[i] - float) > 1e-6);
  const share = beyond / ours.length;
  if (share >= worst.beyond && largest >= worst.largest) worst = { beyond: share, largest, name: expected };
  if (share > 0.01 || wrongFloat) {
    failed++;
    console.error(
      `FAIL ${expected}: ${(100 * share).toFixed(2)} % beyond 2 levels, largest ${largest}`,
      wrongFloat ?? '',
    );
  }
}
await resampler.dispose();
console.log(
  `${cases.length - failed} of ${cases.length} cases agree; ${((100 * different) / values).toFixed(4)} % of the values differ; ` +
    `worst ${worst.name}: ${(100 * worst.beyond).toFixed(3)} % beyond 2 levels, largest ${worst.largest}`,
);
process.exit(failed ? 1 : 0);
