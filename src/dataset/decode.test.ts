import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp, { type Sharp } from 'sharp';
import { afterAll, expect, it } from 'vitest';
import { decodeFile } from './decode.node.ts';

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
