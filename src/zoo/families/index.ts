import type { Family } from '../family.ts';
import { pvtV2 } from './pvt-v2/family.ts';
import { visionTransformer } from './vision-transformer/family.ts';

/** The families that can be built, a row each. */
export const families: readonly Family[] = [visionTransformer, pvtV2];
