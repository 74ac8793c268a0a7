import type { Family } from '../family.ts';
import { beit } from './beit/family.ts';
import { cait } from './cait/family.ts';
import { coat } from './coat/family.ts';
import { conVit } from './convit/family.ts';
import { crossVit } from './crossvit/family.ts';
import { davit } from './davit/family.ts';
import { edgeNext } from './edgenext/family.ts';
import { efficientFormer } from './efficientformer/family.ts';
import { efficientFormerV2 } from './efficientformer-v2/family.ts';
import { efficientVitMit } from './efficientvit-mit/family.ts';
import { efficientVitMsra } from './efficientvit-msra/family.ts';
import { eva } from './eva/family.ts';
import { fastVit } from './fastvit/family.ts';
import { gcvit } from './gcvit/family.ts';
import { hiera } from './hiera/family.ts';
import { levit } from './levit/family.ts';
import { maxxVit } from './maxxvit/family.ts';
import { mobileVit } from './mobilevit/family.ts';
import { mvitv2 } from './mvitv2/family.ts';
import { nest } from './nest/family.ts';
import { nextVit } from './nextvit/family.ts';
import { pit } from './pit/family.ts';
import { pvtV2 } from './pvt-v2/family.ts';
import { repVit } from './repvit/family.ts';
import { shVit } from './shvit/family.ts';
import { swiftFormer } from './swiftformer/family.ts';
import { swinTransformer } from './swin-transformer/family.ts';
import { swinTransformerV2 } from './swin-transformer-v2/family.ts';
import { swinTransformerV2Cr } from './swin-transformer-v2-cr/family.ts';
import { tinyVit } from './tiny-vit/family.ts';
import { tnt } from './tnt/family.ts';
import { twins } from './twins/family.ts';
import { visformer } from './visformer/family.ts';
import { visionTransformer } from './vision-transformer/family.ts';
import { visionTransformerHybrid } from './vision-transformer-hybrid/family.ts';
import { visionTransformerRelPos } from './vision-transformer-relpos/family.ts';
import { vitamin } from './vitamin/family.ts';
import { volo } from './volo/family.ts';
import { xcit } from './xcit/family.ts';

/** The families that can be built, a row each. */
export const families: readonly Family[] = [
  visionTransformer,
  visionTransformerHybrid,
  visionTransformerRelPos,
  vitamin,
  volo,
  hiera,
  mvitv2,
  nest,
  gcvit,
  pvtV2,
  pit,
  xcit,
  levit,
  twins,
  crossVit,
  visformer,
  tinyVit,
  efficientFormer,
  efficientFormerV2,
  efficientVitMit,
  efficientVitMsra,
  shVit,
  edgeNext,
  swiftFormer,
  nextVit,
  tnt,
  conVit,
  repVit,
  fastVit,
  mobileVit,
  eva,
  beit,
  cait,
  swinTransformer,
  swinTransformerV2,
  swinTransformerV2Cr,
  davit,
  coat,
  maxxVit,
];
