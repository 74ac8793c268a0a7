import { UserError } from '../common/errors.ts';

/** One weight scale for each output channel, or one for the whole matrix. */
export type Granularity = 'channel' | 'tensor';

/** How PyTorch chooses an integer engine's numbers. Zero points of weights are 0 everywhere (symmetric). */
export interface Backend {
  readonly granularity: Granularity;
  /**
   * PyTorch gives it activations of 7 of the 8 bits, since its kernels add pairs of u8*s8 products in
   * 16 bits, which overflow with the full range (AVX2 and AVX-512 without VNNI).
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
  mlas: { granularity: 'channel', reduceRange: false, about: 'ONNX Runtime' },
  x86: { granularity: 'channel', reduceRange: true, about: 'PyTorch on x86: FBGEMM, or oneDNN with VNNI' },
  fbgemm: { granularity: 'channel', reduceRange: true, about: 'PyTorch on servers, any AVX2' },
  onednn: { granularity: 'channel', reduceRange: false, about: 'PyTorch on CPUs with VNNI or AMX' },
  qnnpack: { granularity: 'tensor', reduceRange: false, about: 'PyTorch on Arm phones' },
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

/**
 * How weights are rounded:
 * - `safe`: no pair of neighbours can make a 16-bit sum overflow, so that every processor computes the
 *   same. Then activations can keep their 8 bits under every backend; and each channel has its own scale,
 *   which QNNPACK takes too and which is nearer to float32 than what PyTorch gives it;
 * - `torch`: the numbers of PyTorch's `quantize_dynamic` for the backend, bit for bit.
 */
export const weightKinds = ['safe', 'torch'] as const;
export type WeightKind = (typeof weightKinds)[number];

export interface NumberOptions {
  /** Default `mlas`. */
  backend?: BackendName | undefined;
  /** Default `safe`. */
  weights?: WeightKind | undefined;
  /**
   * Where weights are `safe`: plain scales all the same, a little nearer to float32, for files that only
   * processors will run that add products in 32 bits. Default false.
   */
  assumeVnni?: boolean | undefined;
}

/** What a choice of backend and rounding comes to. */
export interface Numbers {
  readonly granularity: Granularity;
  /** Pairs of neighbouring weights keep within `pairBound`. */
  readonly bounded: boolean;
  /** Activations use 7 of their 8 bits. */
  readonly reduceRange: boolean;
}

/** @throws UserError when there is no such backend */
export function numbersOf({
  backend = 'mlas',
  weights = 'safe',
  assumeVnni = false,
}: NumberOptions): Numbers {
  const { granularity, reduceRange } = backendNamed(backend);
  if (weights === 'torch') return { granularity, bounded: false, reduceRange };
  return { granularity: 'channel', bounded: !assumeVnni, reduceRange: false };
}

/** A choice with its defaults and what follows from it, for the record. */
export function chosen({ backend = 'mlas', weights = 'safe', assumeVnni = false }: NumberOptions) {
  const { reduceRange } = numbersOf({ backend, weights, assumeVnni });
  return { backend, weights, assumeVnni, reduceRange };
}

/**
 * On which processors integer products with such numbers are exact: all sums fit. Two products of 7-bit
 * activations with any weights do too, as long as no activation leaves its calibrated range.
 */
export function exactOn({ bounded, reduceRange }: Numbers, scheme: 'dynamic' | 'static'): string {
  if (bounded || (reduceRange && scheme === 'dynamic')) return 'every processor';
  const others = 'Arm, WebAssembly, x86 with VNNI or AMX';
  return reduceRange
    ? `${others}; elsewhere on x86 as long as activations stay in the calibrated range`
    : `${others}; saturates on x86 with AVX2 and no VNNI`;
}
