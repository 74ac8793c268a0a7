import { mixBits } from '../common/random.ts';

/** Without a validation part, one image of this many of each class is held out. */
const heldOutShare = 5;

/**
 * Divides images of a data set that has no validation part: a fifth of each class (rounded, at least one
 * image, but never the only one) is held out. Those whose ids have the smallest hashes, so the choice
 * depends on names alone and hardly changes when images are added.
 */
export function holdOut<T extends { readonly label: number }>(
  samples: readonly T[],
  idOf: (sample: T) => string,
): { train: T[]; val: T[] } {
  const byClass = new Map<number, { sample: T; hash: number }[]>();
  for (const sample of samples) {
    const members = byClass.get(sample.label) ?? [];
    members.push({ sample, hash: hashText(idOf(sample)) });
    byClass.set(sample.label, members);
  }
  const heldOut = new Set<T>();
  for (const members of byClass.values()) {
    const count = members.length < 2 ? 0 : Math.max(1, Math.round(members.length / heldOutShare));
    members.sort((a, b) => a.hash - b.hash);
    for (const { sample } of members.slice(0, count)) heldOut.add(sample);
  }
  return {
    train: samples.filter((sample) => !heldOut.has(sample)),
    val: samples.filter((sample) => heldOut.has(sample)),
  };
}

/** What is said where images to train on are held out. */
export const heldOutNote = (where: string, heldOut: number, all: number): string =>
  `${where}: no validation split, so ${heldOut} of its ${all} images are held out of training, to measure on`;

/** FNV-1a over UTF-16 units, scattered: neighbouring file numbers give unrelated hashes. */
function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return mixBits(hash);
}
