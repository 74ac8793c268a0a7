import { readFileSync } from 'node:fs';
import { cpus, machine, platform, totalmem } from 'node:os';
import { processorClass } from './processor-class.ts';

export interface Machine {
  readonly cpu: string;
  /** Threads the engine used. */
  readonly threads: number;
  readonly engine: string;
  /** Logical processors. */
  readonly cores: number;
  readonly memoryBytes: number;
  /** Its integer instructions, which int8 figures depend on: `x86, AVX2 without VNNI`. */
  readonly processorClass: string;
  /** Operating system and architecture: `linux x86_64`. */
  readonly system: string;
}

/** What measurements were made on. */
export function describeMachine(engine: string, threads: number): Machine {
  const processors = cpus();
  return {
    // Some virtual and Arm machines don't tell their processor's name.
    cpu: processors[0]?.model.trim().replace(/\s+/g, ' ') || machine(),
    threads,
    engine,
    cores: processors.length,
    processorClass: processorClass(processorFlags()) ?? `${machine()}, instructions unknown`,
    memoryBytes: totalmem(),
    system: `${platform()} ${machine()}`,
  };
}

/** As Linux lists them; Apple's Arm processors all have what these say; elsewhere none are known. */
function processorFlags(): string[] {
  if (platform() === 'darwin' && machine() === 'arm64') return ['asimd', 'asimddp'];
  if (platform() !== 'linux') return [];
  const [, flags = ''] = /^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8')) ?? [];
  return flags.trim().split(/\s+/);
}
