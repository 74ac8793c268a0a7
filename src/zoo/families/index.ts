import type { Family } from '../family.ts';
import { levit } from './levit/family.ts';
import { pit } from './pit/family.ts';
import { pvtV2 } from './pvt-v2/family.ts';
import { twins } from './twins/family.ts';
import { visionTransformer } from './vision-transformer/family.ts';
import { xcit } from './xcit/family.ts';

/** The families that can be built, a row each. */
export const families: readonly Family[] = [visionTransformer, pvtV2, pit, xcit, levit, twins];
