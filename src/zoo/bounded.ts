import { UserError } from '../common/errors.ts';

/** Of a table that is computed from sizes of images, windows and stages, such as a mask of shifted windows. */
const mostElements = 2 ** 24;

/**
 * A number of elements that a table may have, before memory is taken for it.
 * @throws UserError on more, or on what is no number of elements
 */
export function bounded(elements: number): number {
  if (elements <= mostElements) return elements;
  throw new UserError(
    `the arguments ask for a table of ${elements.toLocaleString('en')} elements, and at most ${mostElements.toLocaleString('en')} are made: sizes of images, windows or stages are too large`,
  );
}
