import * as z from 'zod';
import { readWholeFile, writeFileWhole } from '../../common/files.node.ts';
import { litertFiles } from '../../runtime/runtimes.node.ts';
import { format } from '../format.ts';
import { checkTflite } from './check-file.ts';
import { tfliteContents } from './contents.ts';
import { exportTflite } from './export.ts';

/** `.tflite`, read back and checked by its structure. */
export const tfliteFormat = format({
  name: 'tflite',
  extension: '.tflite',
  about: 'LiteRT on Android and iOS, and in browsers; one image a run',
  images: 'one, channels last',
  runtime: litertFiles,
  options: z.strictObject({}),
  async write({ engine, graph, path }) {
    writeFileWhole(path, await exportTflite(engine, graph));
  },
  async verify({ path }) {
    checkTflite(readWholeFile(path));
    return 'no LiteRT is at hand';
  },
  contents: (path) => tfliteContents(readWholeFile(path), path),
});
