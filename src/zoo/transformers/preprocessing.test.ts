import { expect, it } from 'vitest';
import { UserError } from '../../common/errors.ts';
import { readPreprocessor } from './preprocessing.ts';

const mean = [0.5, 0.4, 0.3];
const std = [0.2, 0.3, 0.4];
const read = (config: object) =>
  readPreprocessor(
    JSON.stringify({ image_mean: mean, image_std: std, ...config }),
    'pre.json',
    3,
    [224, 224],
  );

it('squashes to a size, as ViT does', () => {
  const { preprocessing } = read({ do_resize: true, size: { height: 160, width: 128 }, resample: 2 });
  expect(preprocessing).toEqual({
    inputSize: [3, 160, 128],
    mean,
    std,
    interpolation: 'bilinear',
    cropPct: 1,
    cropMode: 'squash',
  });
});

it('crops the middle of what was resized by its shortest edge, as CLIP and DINOv2 do', () => {
  const crop = { do_center_crop: true, crop_size: { height: 224, width: 224 }, resample: 3 };
  const { preprocessing } = read({ size: { shortest_edge: 256 }, ...crop });
  expect(preprocessing).toMatchObject({ inputSize: [3, 224, 224], cropPct: 0.875, cropMode: 'center' });
  expect(read({ size: 256, ...crop, crop_size: 224 }).preprocessing).toMatchObject({ cropPct: 0.875 });
});

it('takes other scales of pixels into mean and deviation, and none for normalized to nothing', () => {
  const { preprocessing } = read({ rescale_factor: 2 / 255 });
  expect(preprocessing.mean[0]).toBeCloseTo(0.25);
  expect(preprocessing.std[2]).toBeCloseTo(0.2);
  expect(read({ do_normalize: false }).preprocessing).toMatchObject({ mean: [0, 0, 0], std: [1, 1, 1] });
  expect(read({ do_flip_channel_order: true }).reversedChannels).toBe(true);
});

it.each([
  ['[1]', /not a JSON object/],
  ['{', /not JSON/],
  ['{"image_mean": "x"}', /image_mean is "x"/],
  ['{"resample": 0}', /resample 0 is not supported/],
])('refuses %s', (text, message) => {
  const act = () => readPreprocessor(text, 'pre.json', 3, [224, 224]);
  expect(act).toThrow(message);
  expect(act).toThrow(UserError);
  expect(act).toThrow(/^pre\.json/);
});
