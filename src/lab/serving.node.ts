import { networkInterfaces } from 'node:os';
import { UserError } from '../common/errors.ts';
import { selfSigned } from './certificate.node.ts';
import type { DeviceTimer } from './device-timer.ts';
import { LabServer } from './server.node.ts';
import type { LabSession } from './session.ts';

/** Where a lab is, and how long. */
export interface Serving {
  /** 0: any that is free. */
  port: number;
  /** Serve every network, not this machine alone. */
  lan: boolean;
  /** Plain HTTP for other devices too: nothing to be warned of, but one thread and no WebGPU there. */
  http: boolean;
  /** Ends the lab. */
  signal: AbortSignal;
  /** Told when the page can be opened, with its addresses. */
  opened(addresses: readonly string[]): void;
  /** Opens the page itself; the lab ends when that is done. */
  visit?(address: string): Promise<void>;
}

/**
 * Serves a lab until it is told to end, who visits it is done, or so is the work.
 * @param work what devices do here beside what the session asks of them
 * @throws UserError when the port is taken, or this machine is in no network
 */
export async function serving(
  session: LabSession,
  { port, lan, http, signal, opened, visit }: Serving,
  work?: { timer: DeviceTimer; done: Promise<void> },
): Promise<void> {
  const addresses = lan ? lanAddresses() : [];
  const hosts = ['127.0.0.1', 'localhost', ...addresses];
  const server = await LabServer.open(session, {
    port,
    hosts,
    listen: lan ? '0.0.0.0' : '127.0.0.1',
    certificate: lan && !http ? selfSigned(hosts) : undefined,
    timer: work?.timer,
  });
  try {
    opened((lan ? addresses : ['127.0.0.1']).map((host) => server.address(host)));
    const ended = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener('abort', () => resolve());
    });
    const visited = visit?.(server.address('127.0.0.1'));
    if (work) await Promise.race([Promise.all([work.done, visited]), ended]);
    else await Promise.race(visited ? [visited, ended] : [ended]);
  } finally {
    await server.close();
  }
}

/** This machine's addresses in the networks it is in. @throws UserError when it is in none */
function lanAddresses(): string[] {
  const found = Object.values(networkInterfaces())
    .flatMap((each) => each ?? [])
    .filter(({ family, internal }) => family === 'IPv4' && !internal)
    .map(({ address }) => address);
  if (found.length === 0) throw new UserError('this machine is in no network that a phone could reach it by');
  return found;
}
