/** One way to run a file in a browser. */
export interface Runner {
  /** As messages and reports name it. */
  readonly id: string;
  /** npm package. */
  readonly runtime: 'onnxruntime-web' | '@litertjs/core';
  /** For people. */
  readonly title: string;
  /** Of the files that it loads, as `--format` names it. */
  readonly format: 'onnx' | 'tflite';
  readonly accelerator: 'wasm' | 'webgpu';
  /** `many`: as many as the device has cores, four at most. */
  readonly threads: 'one' | 'many';
}

const row = (
  runtime: Runner['runtime'],
  title: string,
  format: Runner['format'],
  accelerator: Runner['accelerator'],
  threads: Runner['threads'],
): Runner => {
  const setting = accelerator === 'webgpu' ? 'webgpu' : threads === 'one' ? 'wasm-1' : 'wasm-n';
  return { id: `${format}-${setting}`, runtime, title, format, accelerator, threads };
};

/** All ways, in the order in which a device tries them. */
export const runners: readonly Runner[] = [
  row('onnxruntime-web', 'ONNX Runtime Web', 'onnx', 'wasm', 'one'),
  row('onnxruntime-web', 'ONNX Runtime Web', 'onnx', 'wasm', 'many'),
  row('onnxruntime-web', 'ONNX Runtime Web', 'onnx', 'webgpu', 'one'),
  row('@litertjs/core', 'LiteRT.js', 'tflite', 'wasm', 'one'),
  row('@litertjs/core', 'LiteRT.js', 'tflite', 'wasm', 'many'),
  row('@litertjs/core', 'LiteRT.js', 'tflite', 'webgpu', 'one'),
];

/** What a browser can do, as far as runners ask. */
export interface Abilities {
  /** Cross-origin isolated: threads of WebAssembly can share memory. */
  readonly isolated: boolean;
  /** LiteRT.js has no threads without it, and is slower. */
  readonly relaxedSimd: boolean;
  /** A WebGPU adapter was given. */
  readonly webgpu: boolean;
  /** Logical processors that the browser tells. */
  readonly cores: number;
}

/** Threads that a runner takes on a device. */
export const threadsOf = (
  { threads }: Pick<Runner, 'threads'>,
  { cores }: Pick<Abilities, 'cores'>,
): number => (threads === 'one' ? 1 : Math.max(1, Math.min(4, cores)));

/** Why a runner can do nothing on a device; undefined where it can. */
export function obstacle(runner: Runner, abilities: Abilities): string | undefined {
  if (runner.accelerator === 'webgpu') return abilities.webgpu ? undefined : 'the browser gives no WebGPU';
  if (runner.threads === 'one') return undefined;
  if (abilities.cores < 2) return 'one core';
  if (!abilities.isolated) return 'no threads: the page is not cross-origin isolated';
  if (runner.runtime === '@litertjs/core' && !abilities.relaxedSimd)
    return 'LiteRT.js has threads with relaxed SIMD only';
  return undefined;
}

/** `LiteRT.js, WASM, 4 threads` */
export function runnerTitle(
  { title, accelerator }: Pick<Runner, 'title' | 'accelerator'>,
  threads: number,
): string {
  if (accelerator === 'webgpu') return `${title}, WebGPU`;
  return `${title}, WASM, ${threads} thread${threads === 1 ? '' : 's'}`;
}
