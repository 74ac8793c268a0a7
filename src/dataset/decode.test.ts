import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp, { type Sharp } from 'sharp';
import { afterAll, expect, it } from 'vitest';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { decodeFile, decodeImage } from './decode.node.ts';
import { cut } from './pixels.ts';
import { createResampler } from './resample.ts';

const root = mkdtempSync(join(tmpdir(), 'decode-'));
afterAll(() => rmSync(root, { recursive: true }));

async function decode(name: string, image: Sharp) {
  const path = join(root, name);
  writeFileSync(path, await image.toBuffer());
  const { width, height, channels, data } = await decodeFile(path);
  return { size: [width, height], channels, first: [...data.subarray(0, channels)] };
}

const solid = (background: string, channels: 3 | 4 = 3) =>
  sharp({ create: { width: 5, height: 3, channels, background } });

it('drops transparency without blending', async () => {
  const { channels, first } = await decode('alpha.png', solid('#ff804020', 4).png());
  expect([channels, first]).toEqual([3, [255, 128, 64]]);
});

it('keeps grey as one channel, 16 bits by the upper byte', async () => {
  const raw = { width: 2, height: 1, channels: 1 } as const;
  const grey = sharp(Uint16Array.from([0x1234, 0xfedc]), { raw });
  const { channels, first } = await decode('deep.png', grey.toColourspace('grey16').png());
  expect([channels, first]).toEqual([1, [0x12]]);
});

it('does not turn by EXIF orientation', async () => {
  const { size } = await decode('turned.jpg', solid('#102030').withMetadata({ orientation: 6 }).jpeg());
  expect(size).toEqual([5, 3]);
});

it('rejects what is cut off, empty or no image', async () => {
  const whole = await solid('#102030').jpeg().toBuffer();
  for (const bytes of [whole.subarray(0, whole.length - 20), Buffer.alloc(0), Buffer.from('no image')]) {
    writeFileSync(join(root, 'bad.jpg'), bytes);
    await expect(decodeFile(join(root, 'bad.jpg'))).rejects.toThrow();
  }
  await expect(decodeFile(join(root, 'missing.jpg'))).rejects.toThrow('ENOENT');
});

it('looks at the bytes, not at the name: a drawing or a document is no image', async () => {
  const blur = '<filter id="f"><feGaussianBlur stdDeviation="2000"/></filter>';
  const drawing = `<svg xmlns="http://www.w3.org/2000/svg" width="9000" height="9000">${blur}<rect width="9000" height="9000" filter="url(#f)"/></svg>`;
  for (const bytes of [drawing, `<?xml version="1.0"?>${drawing}`, '%PDF-1.7\n1 0 obj']) {
    writeFileSync(join(root, 'photo.jpg'), bytes);
    await expect(decodeFile(join(root, 'photo.jpg'))).rejects.toThrow('it is none of JPEG, PNG');
  }
  writeFileSync(join(root, 'photo.jpg'), Buffer.concat([Buffer.from('BM'), Buffer.alloc(64)]));
  await expect(decodeFile(join(root, 'photo.jpg'))).rejects.toThrow("BMP can't be decoded here: convert it");
  const png = await solid('#102030').png().toBuffer();
  writeFileSync(join(root, 'photo.jpg'), png);
  expect((await decodeFile(join(root, 'photo.jpg'))).width).toBe(5);
});

it('takes no memory for more pixels than are allowed', async () => {
  const bomb = await sharp({ create: { width: 9000, height: 9000, channels: 3, background: '#000' } })
    .png()
    .toBuffer();
  const before = process.resourceUsage().maxRSS;
  await expect(decodeImage(bomb)).rejects.toThrow(
    '9000 x 9000 pixels are more than the 50000000 that are allowed (--max-pixels)',
  );
  expect(process.resourceUsage().maxRSS - before).toBeLessThan(100 * 1024);
  const small = await solid('#102030').png().toBuffer();
  await expect(decodeImage(small, { maxPixels: 14 })).rejects.toThrow('5 x 3 pixels are more than the 14');
  expect((await decodeImage(small, { maxPixels: 15 })).height).toBe(3);
});

it.each(['jpeg', 'png', 'webp', 'tiff', 'gif', 'avif'] as const)('decodes %s', async (format) => {
  const bytes = await solid('#808080').toFormat(format).toBuffer();
  expect(await decodeImage(bytes)).toMatchObject({ width: 5, height: 3 });
});

it('gives a smaller part as the engine resizes it, and the whole where it would enlarge', async () => {
  const [width, height] = [96, 80];
  const waves = Buffer.from(
    Array.from({ length: width * height * 3 }, (_, i) => 128 + 100 * Math.sin(i / 37) * Math.cos(i / 1301)),
  );
  const bytes = await sharp(waves, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
  const whole = await decodeImage(bytes);
  const resampler = createResampler(onnxruntime);
  for (const interpolation of ['bicubic', 'bilinear'] as const) {
    const box = { left: 7, top: 5, width: 80, height: 50 };
    const view = { box, width: 32, height: 40, interpolation };
    const part = await decodeImage(bytes, {}, (size) => {
      expect(size).toEqual({ width, height });
      return view;
    });
    expect(part).toMatchObject({ width: 32, height: 40, view });
    const ours = await resampler.resize(cut(whole, 7, 5, 80, 50), 32, 40, interpolation);
    const apart = part.data.map((tone, i) => Math.abs(tone - ours.data[i]!));
    expect(apart.reduce((sum, levels) => sum + levels, 0) / apart.length).toBeLessThan(0.4);
    const enlarged = await decodeImage(bytes, {}, () => ({ ...view, height: 51 }));
    expect(enlarged).toEqual(whole);
  }
  await resampler.dispose();
});
