import { optionalPackage } from '../common/optional-package.node.ts';
import type { RawImage, Split } from '../dataset/dataset.ts';
import type { Prediction } from '../measure/accuracy.ts';
import type { ReportSample } from './schema.ts';

/** Longest edge of a thumbnail in pixels, at most. */
const edge = 112;

/**
 * A small PNG of an image as a `data:` URI. Tiny images are enlarged a whole number of times, so that
 * their pixels show as they are.
 */
export async function thumbnail({ data, width, height, channels }: RawImage): Promise<string> {
  const times = Math.floor(edge / Math.max(width, height));
  const size = times > 1 ? { width: width * times, height: height * times } : { width: edge, height: edge };
  const sharp = optionalPackage<typeof import('sharp').default>('sharp', 'showing images in the report');
  const png = await sharp(data, { raw: { width, height, channels } })
    .resize({
      ...size,
      fit: 'inside',
      kernel: times > 1 ? 'nearest' : 'lanczos3',
      withoutEnlargement: times < 2,
    })
    .png({ compressionLevel: 9 })
    .toBuffer();
  return `data:image/png;base64,${png.toString('base64')}`;
}

/**
 * Predictions with their pictures and class names, for the report; each image once.
 * @param split the one the predictions were made on
 */
export async function reportSamples(
  predictions: readonly Prediction[],
  split: Split,
  classes: readonly string[],
): Promise<ReportSample[]> {
  const wanted = new Map(predictions.map((prediction) => [prediction.id, prediction]));
  const indices = new Map<string, number>();
  for (let i = 0; i < split.length && indices.size < wanted.size; i++) {
    const id = split.id(i);
    if (wanted.has(id)) indices.set(id, i);
  }
  const name = (index: number) => classes[index] ?? String(index);
  return Promise.all(
    [...wanted.values()].map(async ({ id, label, predicted, probability }) => ({
      id,
      label: name(label),
      predicted: name(predicted),
      probability,
      thumbnail: await thumbnail(await split.read(indices.get(id)!)),
    })),
  );
}
