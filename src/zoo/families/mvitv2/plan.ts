import type { Value } from '../../../graph/graph.ts';
import type { Strided } from './pooling.ts';

/** Tokens `[N, T, C]`: `prefix` of them, then the pixels of an image of `size`. */
export interface TokenImage {
  tokens: Value;
  size: readonly [height: number, width: number];
  prefix: number;
}

export interface BlockPlan {
  /** Channels of what comes out. */
  width: number;
  heads: number;
  q: Strided;
  kv: Strided;
}
