import { writeFileWhole } from '../../files.node.ts';
import type { Graph } from '../../graph/graph.ts';
import { exportLite, type LiteOptions } from './lite.ts';
import { exportTorchScript } from './script.ts';

/** Writes a TorchScript `.pt` file, whole or not at all. @throws UserError as `exportTorchScript` */
export function saveTorchScript(graph: Graph, path: string): void {
  writeFileWhole(path, exportTorchScript(graph));
}

/** Writes a PyTorch Lite `.ptl` file, whole or not at all. @throws UserError as `exportLite` */
export function saveLite(graph: Graph, path: string, options: LiteOptions = {}): void {
  writeFileWhole(path, exportLite(graph, options));
}
