#!/usr/bin/env node
/** Puts the files that the source reads or runs beside the compiled code, as the compiler does not. */
import { cpSync } from 'node:fs';

for (const folder of ['zoo/data', 'train/torchrun/trainer']) {
  cpSync(new URL(`../src/${folder}`, import.meta.url), new URL(`../dist/${folder}`, import.meta.url), {
    recursive: true,
    filter: (path) => !path.includes('__pycache__'),
  });
}
