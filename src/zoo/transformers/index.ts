import { beit } from './beit.ts';
import { deit } from './deit.ts';
import { dinov2 } from './dinov2.ts';
import { mobilevit } from './mobilevit.ts';
import { pvtV2, segformer } from './pyramids.ts';
import type { TransformersRow } from './row.ts';
import { swin, swinV2 } from './swin.ts';
import { clip, siglip } from './towers.ts';
import { vit } from './vit.ts';

/** Hugging Face transformers' models that are timm's, a row each. */
export const transformersRows: readonly TransformersRow[] = [
  vit,
  deit,
  beit,
  dinov2,
  swin,
  swinV2,
  clip,
  siglip,
  pvtV2,
  mobilevit,
  segformer,
];
