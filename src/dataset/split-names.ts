/** What data sets call the images to train on, in any case. */
export const trainNames = ['train', 'training'];
/** What they call those to measure on, best first: with several, a test set is the last that is taken. */
export const valNames = ['val', 'valid', 'validation', 'dev', 'test'];

/** The split that the name of a file or folder begins with: `train` of `Train-00000-of-00001.parquet`. */
export function splitOf(name: string): string | undefined {
  const [word] = name.toLowerCase().split(/[-_.]/, 1);
  return [...trainNames, ...valNames].find((known) => known === word);
}
