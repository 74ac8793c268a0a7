import { readFileSync } from 'node:fs';
import { provideTimmModels, type TimmModels } from './timm-models.ts';

/** Importing this file provides the table of timm's architectures from the package's own folder. */
provideTimmModels(
  () =>
    JSON.parse(readFileSync(new URL('../zoo/data/timm-models.json', import.meta.url), 'utf8')) as TimmModels,
);
