import { type CheckpointLayout, renamed } from '../../checkpoint-layout.ts';

/**
 * As the authors of Swin and Swin V2 publish them, and timm did at first: patches are merged at the end of a stage
 * instead of the beginning of the next, the head is no module, and tables that follow from the sizes are kept.
 */
const published: CheckpointLayout = {
  name: 'Swin Transformer',
  matches: (state) => state.has('layers.0.downsample.reduction.weight'),
  convert: (tensors, leftOver) =>
    renamed(
      tensors,
      (name) =>
        computed.test(name)
          ? undefined
          : name
              .replace(
                /^layers\.(\d+)\.downsample\./,
                (_, stage) => `layers.${Number(stage) + 1}.downsample.`,
              )
              .replace(/^head\.(?!fc\.)/, 'head.fc.'),
      leftOver,
    ),
};

/** Tables that a model computes, where they were saved in timm's own layout. */
const withTables: CheckpointLayout = {
  name: 'timm before 0.9',
  matches: (state) => [...state.keys()].some((name) => computed.test(name)),
  convert: (tensors, leftOver) =>
    renamed(tensors, (name) => (computed.test(name) ? undefined : name), leftOver),
};

const computed = /(^|\.)(relative_position_index|relative_coords_table|attn_mask)$/;

export const layouts: readonly CheckpointLayout[] = [published, withTables];
