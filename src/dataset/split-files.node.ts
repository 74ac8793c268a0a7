import { join, relative, sep } from 'node:path';
import { UserError } from '../common/errors.ts';
import { splitOf, trainNames, valNames } from './split-names.ts';

/**
 * Sorts the files of a data set, by the split that their names or those of their folders say, into what is trained on
 * and what is measured on. Files that name none are to train on when none does, and left out otherwise.
 * @throws UserError when they lie in several places, as configurations of one data set do
 */
export function splitFiles(
  folder: string,
  paths: readonly string[],
): { train: string[]; val: string[]; isTest: boolean } {
  const files = paths.toSorted().map((path) => {
    const segments = relative(folder, path).split(sep);
    const at = segments.findLastIndex((segment) => splitOf(segment) !== undefined);
    // A configuration is what the path says besides split and file name.
    const configuration = segments.slice(0, at === -1 ? -1 : Math.min(at, segments.length - 1)).join('/');
    return { path, configuration, split: at === -1 ? undefined : splitOf(segments[at]!) };
  });
  const configurations = [...new Set(files.map(({ configuration }) => configuration))];
  if (configurations.length > 1) {
    const list = configurations.map((name) => (name === '' ? folder : join(folder, name))).join(', ');
    throw new UserError(`${folder} holds several data sets; give one of the folders ${list}`);
  }
  const named = (split: string | undefined) =>
    files.filter((file) => file.split === split).map(({ path }) => path);
  const trainName = trainNames.find((name) => named(name).length > 0);
  const valName = valNames.find((name) => named(name).length > 0);
  if (!trainName && !valName) return { train: named(undefined), val: [], isTest: false };
  return {
    train: trainName ? named(trainName) : [],
    val: valName ? named(valName) : [],
    isTest: valName === 'test',
  };
}
