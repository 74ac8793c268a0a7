import type { Value } from '../../graph/graph.ts';
import { Tensor } from '../../graph/tensor.ts';
import { bounded } from '../bounded.ts';
import { conv } from './convolution.ts';
import type { Layers } from './layers.ts';
import { imageToTokens } from './layout.ts';

/** Waves for each direction. */
const waves = 32;
const temperature = 10000;

/** Sines and cosines of rows, then of columns, `[1, 2 * waves, H, W]`; an image is one turn, whatever its size. */
function waveTable([height, width]: readonly [number, number]): Tensor {
  const area = height * width;
  const data = new Float32Array(bounded(2 * waves * area));
  const turn = (index: number, length: number) => ((index + 1) / (length + 1e-6)) * 2 * Math.PI;
  for (let wave = 0; wave < waves; wave++) {
    const period = temperature ** ((2 * Math.floor(wave / 2)) / waves);
    const sample = wave % 2 === 0 ? Math.sin : Math.cos;
    for (let i = 0; i < area; i++) {
      data[wave * area + i] = sample(turn(Math.floor(i / width), height) / period);
      data[(waves + wave) * area + i] = sample(turn(i % width, width) / period);
    }
  }
  return Tensor.float32([1, 2 * waves, height, width], data);
}

/** Positions of XCiT and after it EdgeNeXt, a projection of waves to `channels`: `[1, H*W, channels]`. */
export function fourierPositions(layers: Layers, size: readonly [number, number], channels: number): Value {
  const table = layers.constant('waves', waveTable(size));
  return imageToTokens(layers, conv(layers, 'token_projection', table, channels, { kernel: 1 }), 'positions');
}
