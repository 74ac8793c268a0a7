import { readFile } from 'node:fs/promises';
import type { Sharp } from 'sharp';
import { optionalPackage } from '../common/optional-package.node.ts';
import { type DataOptions, dataOptions } from './data-options.ts';
import type { RawImage, View, Viewer } from './dataset.ts';
import { imageFormat } from './image-format.ts';
import { withinTime } from './time-limit.ts';

/** The decoder. The loader decodes many images at once, each a single time: one thread an image, nothing kept. */
function loadSharp() {
  const sharp = optionalPackage<typeof import('sharp').default>('sharp', 'reading image files');
  sharp.concurrency(1);
  sharp.cache(false);
  return sharp;
}

/** What the decoder is built with. Others that it knows, drawings and documents, can take for ever: never those. */
const decodable: ReadonlySet<string> = new Set(['JPEG', 'PNG', 'WebP', 'TIFF', 'GIF', 'AVIF']);

/** An image that takes longer is given up; see `withinTime`. */
const secondsAnImage = 20;

/** Reads and decodes an image file; see `decodeImage`. */
export async function decodeFile(path: string, options?: DataOptions, viewer?: Viewer): Promise<RawImage> {
  return decodeImage(await readFile(path), options, viewer);
}

/**
 * Decodes the bytes of an image file as Pillow's `Image.open(path).convert('RGB')` does: embedded colour profiles
 * and EXIF orientation are not applied, transparency is dropped, 16-bit channels give their upper
 * byte, CMYK is converted without a profile, of an animation the first frame is taken. Grey images
 * keep one channel. The one difference: 16-bit grey, which Pillow clips to white at 255. What the bytes are decides
 * how they are decoded, not what the file is called.
 * @throws UserError when the package sharp is not installed; Error when the image is of no known format, larger than
 *   allowed, damaged or cut off
 */
export async function decodeImage(
  bytes: Uint8Array,
  options: DataOptions = {},
  viewer?: Viewer,
): Promise<RawImage> {
  const { maxPixels } = dataOptions.parse(options);
  const sharp = loadSharp();
  const format = imageFormat(bytes);
  if (!format) throw new Error(`it is none of ${[...decodable].join(', ')}`);
  if (!decodable.has(format)) throw new Error(`${format} can't be decoded here: convert it to PNG`);
  return withinTime(secondsAnImage, () => decoded(sharp, bytes, maxPixels, viewer));
}

async function decoded(
  sharp: ReturnType<typeof loadSharp>,
  bytes: Uint8Array,
  maxPixels: number,
  viewer: Viewer | undefined,
): Promise<RawImage> {
  const settings = { failOn: 'error', ignoreIcc: true, limitInputPixels: false } as const;
  const image = sharp(bytes, settings).timeout({ seconds: secondsAnImage });
  const { space, width, height } = await image.metadata();
  if (width * height > maxPixels) {
    throw new Error(
      `${width} x ${height} pixels are more than the ${maxPixels} that are allowed (--max-pixels)`,
    );
  }
  if (space === 'cmyk') return decodeCmyk(image);
  const grey = space === 'b-w' || space === 'grey16';
  const wanted = viewer?.({ width, height });
  const view = wanted && reduces(wanted) ? wanted : undefined;
  const { data, info } = await (view ? seen(image, view) : image)
    .removeAlpha()
    .toColourspace(grey ? 'b-w' : 'srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, channels: grey ? 1 : 3, data, ...(view && { view }) };
}

/**
 * Whether libvips, resizing as it decodes, gives what Pillow does: 0.15 of 255 levels from it in the mean. It shrinks by
 * averages first from a reduction of 4 on, and enlarges by other rules (2.7 levels).
 */
const reduces = ({ box, width, height }: View): boolean =>
  [box.width / width, box.height / height].every((by) => by >= 1 && by < 4);

const kernels = { bicubic: 'cubic', bilinear: 'linear' } as const;

const seen = (image: Sharp, { box, width, height, interpolation }: View): Sharp =>
  image
    .extract(box)
    .resize(width, height, { fit: 'fill', kernel: kernels[interpolation], fastShrinkOnLoad: false });

/** Pillow's conversion: `(255 - ink) * (255 - black) / 255`, in its rounding. */
async function decodeCmyk(image: Sharp): Promise<RawImage> {
  const { data, info } = await image
    .pipelineColourspace('cmyk')
    .toColourspace('cmyk')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  const { width, height } = info;
  const rgb = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) {
    const light = 255 - data[4 * i + 3]!;
    for (let c = 0; c < 3; c++) {
      const product = data[4 * i + c]! * light + 128;
      rgb[3 * i + c] = light - (((product >> 8) + product) >> 8);
    }
  }
  return { width, height, channels: 3, data: rgb };
}
