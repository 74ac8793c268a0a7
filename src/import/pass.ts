import type { Graph } from '../graph/graph.ts';

export interface ImportOptions {
  /** `[C, H, W]` of the images, where the file leaves it open. */
  inputSize?: readonly [number, number, number] | undefined;
}

/** What the passes are told, and what they have to say. */
export interface ImportContext {
  readonly options: ImportOptions;
  /** Lines for the user: what was changed in what the file computes, or could not be brought to our form. */
  readonly notes: string[];
}

/** Brings one thing about a graph from elsewhere to the form that our own builders write, in place. */
export type ImportPass = (graph: Graph, context: ImportContext) => void;
