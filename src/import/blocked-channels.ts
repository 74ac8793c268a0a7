import type { ImportPass } from './pass.ts';

/** Convolutions in blocks of channels; how long these are the file does not say. */
const blockedDomain = 'com.microsoft.nchwc';

/** Says of a file that was laid out for one processor that it is. */
export const blockedChannels: ImportPass = (graph, { notes }) => {
  const blocked = graph.nodes.find((node) => node.domain === blockedDomain);
  if (!blocked) return;
  notes.push(
    `${blocked.label} has its weights in the order of one processor: little can be done to a file that ONNX Runtime optimized to level "all", give the one that it was made from, or optimize that to "extended"`,
  );
};
