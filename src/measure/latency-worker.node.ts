import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { UserError } from '../common/errors.ts';
import type { LatencyReplies, LatencyReply, LatencyRequest } from '../runtime/latency-protocol.ts';
import type { WorkerCommand } from '../runtime/runtime.ts';

type Request<Op extends LatencyRequest['op']> = Extract<LatencyRequest, { op: Op }>;

/** A child process with one model. Requests are answered one at a time. */
export class LatencyWorker {
  /** Of the model, for errors. */
  readonly path: string;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #exited: Promise<void>;
  #reply: ((line: string | undefined) => void) | undefined;
  #stderr = '';
  #end: string | undefined;

  constructor(command: WorkerCommand, path: string) {
    this.path = path;
    this.#child = spawn(command.file, [...command.args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...command.env },
    });
    this.#exited = new Promise((resolve) => {
      const finish = (how: string) => {
        this.#end ??= how;
        this.#reply?.(undefined);
        resolve();
      };
      this.#child.on('error', (error) => finish(`${command.file} can't be started: ${error.message}`));
      // Not `exit`: what the child still had to say is read by then.
      this.#child.on('close', (code, signal) => finish(signal ? `killed by ${signal}` : `exit code ${code}`));
    });
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      if (line.startsWith('{')) this.#reply?.(line);
    });
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-4000);
    });
    // The pipe breaks when the child dies; `close` tells why.
    this.#child.stdin.on('error', () => {});
  }

  /** @throws UserError naming the model's file when the child says it can't, or dies */
  async ask<Op extends LatencyRequest['op']>(request: Request<Op>): Promise<LatencyReplies[Op]> {
    const line = await new Promise<string | undefined>((resolve) => {
      if (this.#end !== undefined) return resolve(undefined);
      this.#reply = resolve;
      this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    });
    this.#reply = undefined;
    if (line === undefined) {
      const lastWords = this.#stderr.trim().split('\n').at(-1)?.trim();
      throw new UserError(
        `${this.path}: the process that ran it ended (${this.#end})${lastWords ? `: ${lastWords}` : ''}`,
      );
    }
    const reply = JSON.parse(line) as LatencyReply<Op>;
    if ('error' in reply) throw new UserError(`${this.path}: ${reply.error}`);
    return reply;
  }

  /** Ends the process and waits for it to be gone. */
  async stop(): Promise<void> {
    this.kill();
    await this.#exited;
  }

  /** Ends the process without waiting. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }
}
