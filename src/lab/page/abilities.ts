import { type DeviceHints, deviceName } from '../device-name.ts';
import type { Hello } from '../protocol.ts';

interface UserAgentData {
  getHighEntropyValues(hints: readonly string[]): Promise<DeviceHints>;
}
interface Gpu {
  requestAdapter(): Promise<{ info?: { vendor: string; architecture: string; description: string } } | null>;
}
const browser = navigator as Navigator & { userAgentData?: UserAgentData; gpu?: Gpu; deviceMemory?: number };

/** A module with one instruction of relaxed SIMD, as wasm-feature-detect asks for it. */
const relaxed = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2,
  253, 15, 253, 128, 2, 11,
];

/** What this browser tells of itself and its device. */
export async function introduction(): Promise<Hello> {
  const hints = await browser.userAgentData
    ?.getHighEntropyValues(['model', 'platform', 'platformVersion'])
    .catch(() => undefined);
  const adapter = await browser.gpu?.requestAdapter().catch(() => null);
  const gpu =
    adapter?.info &&
    [adapter.info.description, adapter.info.vendor, adapter.info.architecture].filter(Boolean);
  const platform = [hints?.platform, hints?.platformVersion].filter(Boolean).join(' ');
  return {
    name: deviceName(navigator.userAgent, hints),
    userAgent: navigator.userAgent.slice(0, 400),
    cores: navigator.hardwareConcurrency || 1,
    isolated: globalThis.crossOriginIsolated === true,
    relaxedSimd: WebAssembly.validate(Uint8Array.from(relaxed)),
    webgpu: Boolean(adapter),
    ...(hints?.model ? { model: hints.model } : {}),
    ...(platform ? { platform } : {}),
    ...(browser.deviceMemory ? { memory: browser.deviceMemory } : {}),
    ...(gpu?.length ? { gpu: gpu.join(', ').slice(0, 120) } : {}),
  };
}
