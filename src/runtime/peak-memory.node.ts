import { readFileSync } from 'node:fs';

/**
 * The most memory this process ever had resident, in bytes. On Linux it is read from the process's own
 * address space (`VmHWM`): `getrusage` starts a program off with the peak of the process it was
 * started from, so the child of a large parent would look large.
 */
export function peakRssBytes(): number {
  if (process.platform !== 'linux') return process.resourceUsage().maxRSS * 1024;
  const kibibytes = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  return kibibytes === undefined ? process.resourceUsage().maxRSS * 1024 : Number(kibibytes) * 1024;
}
