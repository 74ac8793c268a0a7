import { FileReader, writeFileWhole } from '../../common/files.node.ts';
import type { Graph } from '../../graph/graph.ts';
import { writeChecked } from '../artifact.node.ts';
import { checkArchive } from './check-archive.ts';
import { exportLite, type LiteOptions } from './lite.ts';
import { exportTorchScript } from './script.ts';

/** A further look at the written file before it takes its place. */
type Check = (draft: string) => void | Promise<void>;

/**
 * Writes a TorchScript `.pt` file, reads it back, and moves it to its place when it holds together.
 * @throws UserError as `exportTorchScript`, or when the place can't be written; Error when the file is broken
 */
export const saveTorchScript = (graph: Graph, path: string, check?: Check): Promise<void> =>
  save(path, 'torchscript', exportTorchScript(graph), check);

/**
 * Writes a PyTorch Lite `.ptl` file, reads it back, and moves it to its place when it holds together.
 * @throws UserError as `exportLite`, or when the place can't be written; Error when the file is broken
 */
export const saveLite = (
  graph: Graph,
  path: string,
  options: LiteOptions = {},
  check?: Check,
): Promise<void> => save(path, 'lite', exportLite(graph, options), check);

function save(
  path: string,
  format: 'torchscript' | 'lite',
  pieces: Iterable<Uint8Array>,
  check: Check | undefined,
): Promise<void> {
  return writeChecked(
    path,
    (draft) => writeFileWhole(draft, pieces),
    async (draft) => {
      const file = new FileReader(draft);
      try {
        checkArchive(file, format);
      } finally {
        file.close();
      }
      await check?.(draft);
    },
  );
}
