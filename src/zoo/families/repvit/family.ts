import { measuredBlocks, vectorReading } from '../../blocks-of.ts';
import type { Family } from '../../family.ts';
import { buildRepVit } from './build.ts';

const reading = vectorReading(
  /^(stages\.\d+\.(?:blocks\.\d+|downsample\.pre_block))\./,
  ['channel_mixer.conv2.bn.weight'],
  ['channel_mixer.conv1.bn.weight'],
);

/** timm's RepVit. */
export const repVit: Family = {
  name: 'repvit',
  classes: { 'repvit.RepVit': buildRepVit },
  takesImageSize: true,
  noWeightDecay: [],
  blocks: (graph) => measuredBlocks(graph, reading),
};
