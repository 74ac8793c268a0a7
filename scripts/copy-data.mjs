#!/usr/bin/env node
/** Puts the data files that the source reads beside the compiled code, as the compiler does not. */
import { cpSync } from 'node:fs';

cpSync(new URL('../src/zoo/data', import.meta.url), new URL('../dist/zoo/data', import.meta.url), {
  recursive: true,
});
