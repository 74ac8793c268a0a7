import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { InterruptedError, UserError } from '../../common/errors.ts';
import { printable } from '../../common/printable.ts';

/** What a command came to. */
export interface Answer {
  /** null for one that was ended by a signal, or whose device went away before it told. */
  readonly code: number | null;
  /** Of the device's both outputs, for `shell`; ours apart else. */
  readonly output: string;
  /** What adb itself says. */
  readonly complaint: string;
}

export interface AdbOptions {
  /** The program; `adb` of the PATH where nothing is said. */
  readonly program?: string;
  readonly signal?: AbortSignal;
}

/** The end of what a command prints: its exit code, which devices before Android 7 do not hand on. */
const codeMark = 'pqv-exit-code:';

/** One argument for a device's shell, whatever is in it. */
export const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** A connected Android device, through the `adb` of this machine. */
export class AndroidDevice {
  readonly serial: string;
  readonly #options: AdbOptions;

  constructor(serial: string, options: AdbOptions) {
    this.serial = serial;
    this.#options = options;
  }

  /**
   * Runs words on the device, each one argument there.
   * @param limit milliseconds that it may take; past them it is ended, and the code is null
   */
  shell(words: readonly string[], limit: number): Promise<Answer> {
    return this.script(words.map(quoted).join(' '), limit);
  }

  /** Runs a line of the device's shell. */
  async script(line: string, limit: number): Promise<Answer> {
    const { output, complaint } = await this.#adb(['shell', `{ ${line}\n} 2>&1; echo ${codeMark}$?`], limit);
    const end = output.lastIndexOf(codeMark);
    if (end < 0) return { code: null, output, complaint };
    const code = Number.parseInt(output.slice(end + codeMark.length), 10);
    return { code: Number.isNaN(code) ? null : code, output: output.slice(0, end), complaint };
  }

  /** @throws UserError when the device does not take the file */
  async push(from: string, to: string): Promise<void> {
    const { code, complaint, output } = await this.#adb(['push', resolve(from), to], transferLimit);
    if (code !== 0)
      throw new UserError(`${this.serial} does not take ${from}: ${lastLine(complaint || output)}`);
  }

  /** @returns whether the file was there and came */
  async pull(from: string, to: string): Promise<boolean> {
    return (await this.#adb(['pull', from, resolve(to)], transferLimit)).code === 0;
  }

  async isConnected(): Promise<boolean> {
    const { code, output } = await this.#adb(['get-state'], askLimit);
    return code === 0 && output.trim() === 'device';
  }

  /** The same device, not ended by the signal: to clean up after it. */
  get unstoppable(): AndroidDevice {
    const { program } = this.#options;
    return new AndroidDevice(this.serial, program === undefined ? {} : { program });
  }

  #adb(args: readonly string[], limit: number): Promise<Answer> {
    return runAdb(['-s', this.serial, ...args], this.#options, limit);
  }
}

/** Milliseconds for a question, and for a file on its way. */
const askLimit = 30_000;
const transferLimit = 600_000;

/** The last line of what a program said, fit for a message. */
export const lastLine = (text: string): string =>
  printable(text.trim().split(/\r?\n/).at(-1)?.trim() || 'it says nothing');

/**
 * The device to measure on.
 * @param serial which of several; `ANDROID_SERIAL` where nothing is said, as adb itself takes it
 * @throws UserError when adb is not there, or there is no device, several, or one that can't be used yet, saying what to do
 */
export async function androidDevice(
  serial: string | undefined,
  options: AdbOptions,
  env = process.env,
): Promise<AndroidDevice> {
  const { code, output, complaint } = await runAdb(['devices'], options, askLimit);
  if (code !== 0) throw new UserError(`adb devices fails: ${lastLine(complaint || output)}`);
  const devices = [...output.matchAll(/^(\S+)[ \t]+(\S.*)$/gm)]
    .map(([, name, state]) => ({ name: name!, state: state!.trim() }))
    .filter(({ name }) => name !== 'List' && name !== '*');
  const wanted = serial ?? env.ANDROID_SERIAL;
  const named = devices.map(({ name, state }) => `${name} (${state})`).join(', ');
  if (devices.length === 0) {
    throw new UserError(
      'no Android device is connected: plug one in, allow USB debugging in its developer options, and look at "adb devices"',
    );
  }
  if (wanted !== undefined) {
    const found = devices.find(({ name }) => name === wanted);
    if (!found) throw new UserError(`no Android device ${wanted}; connected: ${named}`);
    return usable(found, options);
  }
  const ready = devices.filter(({ state }) => state === 'device');
  if (ready.length > 1 || (ready.length === 0 && devices.length > 1))
    throw new UserError(`several Android devices: ${named}; say which with --adb-serial`);
  return usable(ready[0] ?? devices[0]!, options);
}

function usable({ name, state }: { name: string; state: string }, options: AdbOptions): AndroidDevice {
  if (state === 'device') return new AndroidDevice(name, options);
  const todo: Readonly<Record<string, string>> = {
    unauthorized: 'unlock it, and allow debugging from this computer on its screen',
    offline: 'plug it in anew, or restart adb ("adb kill-server")',
    recovery: 'start Android on it',
    bootloader: 'start Android on it',
  };
  const [first = ''] = state.split(' ');
  throw new UserError(
    `the Android device ${name} is ${printable(state)}: ${todo[first] ?? 'see "adb devices"'}`,
  );
}

function runAdb(
  args: readonly string[],
  { program = 'adb', signal }: AdbOptions,
  limit: number,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(new InterruptedError('stopped'));
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let [output, complaint] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-mostOutput);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaint = (complaint + text).slice(-mostOutput);
    });
    const end = () => {
      child.kill('SIGKILL');
      // Something that it started may hold them open.
      child.stdout.destroy();
      child.stderr.destroy();
    };
    const timer = setTimeout(end, limit);
    signal?.addEventListener('abort', end);
    const settled = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
    };
    child.on('error', (error: NodeJS.ErrnoException) => {
      settled();
      const absent = error.code === 'ENOENT' || error.code === 'EACCES';
      const message = absent
        ? `${program} is not there: --adb needs the adb of Android's platform-tools on the PATH (Debian's package adb)`
        : `adb does not start: ${error.message}`;
      reject(new UserError(message));
    });
    child.on('close', (code) => {
      settled();
      if (signal?.aborted) return reject(new InterruptedError('stopped'));
      resolve({ code, output: output.replaceAll('\r\n', '\n'), complaint });
    });
  });
}

/** Characters that are kept of what a program prints. */
const mostOutput = 1 << 20;
