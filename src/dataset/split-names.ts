/** What data sets call the images to train on, in any case. */
export const trainNames = ['train', 'training'];
/** What they call those to measure on, best first: with several, a test set is the last that is taken. */
export const valNames = ['val', 'valid', 'validation', 'dev', 'test'];

/**
 * The split that the name of a file or folder says, by the first of its words that is one: `train` of
 * `Train-00000-of-00001.parquet` and of `imagenet1k-train-0000.tar`.
 */
export function splitOf(name: string): string | undefined {
  const words = name.toLowerCase().split(/[-_.]/);
  return words.find((word) => trainNames.includes(word) || valNames.includes(word));
}
