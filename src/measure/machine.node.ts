import { cpus, machine, platform, totalmem } from 'node:os';

export interface Machine {
  readonly cpu: string;
  /** Threads the engine used. */
  readonly threads: number;
  readonly engine: string;
  /** Logical processors. */
  readonly cores: number;
  readonly memoryBytes: number;
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
    memoryBytes: totalmem(),
    system: `${platform()} ${machine()}`,
  };
}
