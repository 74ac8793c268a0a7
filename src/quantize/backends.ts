import { UserError } from '../common/errors.ts';

/** How an integer engine wants its numbers. Zero points of weights are 0 everywhere (symmetric). */
export interface Backend {
  /** One weight scale for each output channel, or one for the whole matrix. */
  readonly weights: 'channel' | 'tensor';
  /**
   * Activations use 7 of the 8 bits. For kernels that add pairs of u8*s8 products in 16 bits, which
   * overflow with the full range (AVX2 and AVX-512 without VNNI).
   */
  readonly reduceRange: boolean;
  /** What it is for. */
  readonly about: string;
}

/**
 * Integer engines by the names PyTorch (`torch.backends.quantized.engine`) and ONNX Runtime give them.
 * Weights are signed 8-bit; activations unsigned 8-bit and affine, their range found at run time.
 */
export const backends = {
  mlas: { weights: 'channel', reduceRange: false, about: 'ONNX Runtime' },
  x86: { weights: 'channel', reduceRange: true, about: 'PyTorch on x86: FBGEMM, or oneDNN with VNNI' },
  fbgemm: { weights: 'channel', reduceRange: true, about: 'PyTorch on servers, any AVX2' },
  onednn: { weights: 'channel', reduceRange: false, about: 'PyTorch on CPUs with VNNI or AMX' },
  qnnpack: { weights: 'tensor', reduceRange: false, about: 'PyTorch on Arm phones' },
} as const satisfies Record<string, Backend>;

export type BackendName = keyof typeof backends;

/** @throws UserError when there is no such backend, with those that there are */
export function backendNamed(name: string): Backend {
  const found = Object.hasOwn(backends, name) ? backends[name as BackendName] : undefined;
  if (!found) {
    throw new UserError(`no quantization backend "${name}"; there are ${Object.keys(backends).join(', ')}`);
  }
  return found;
}
