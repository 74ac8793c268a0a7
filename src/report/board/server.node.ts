import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { UserError } from '../../common/errors.ts';
import type { EpochRecord, StepRecord } from '../../train/checkpoint.ts';
import type { TrainingWatcher, WatchedRun } from '../../train/watch.ts';
import { loadPlots, type Plots } from '../plots.ts';
import { boardContent, boardPage, contentPolicy, type Standing, script } from './page.ts';

/** Milliseconds between two looks of a page at the training. */
const lookEvery = 2000;
/** Milliseconds over which speed is measured. */
const speedOver = 10_000;
/** Pages that are kept up to date at once. */
const mostReaders = 50;

/**
 * A page that shows a training while it goes on: loss, learning rate, top-1, speed and memory. Served to this
 * machine alone; nothing is drawn while nobody looks.
 */
export class Board implements TrainingWatcher {
  readonly address: string;
  readonly #server: Server;
  readonly #plots: Plots;
  readonly #readers = new Set<ServerResponse>();
  #run: WatchedRun | undefined;
  #ended = false;
  #times: number[] = [];
  #looking: NodeJS.Timeout | undefined;

  private constructor(server: Server, plots: Plots) {
    this.#server = server;
    this.#plots = plots;
    this.address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    server.on('request', (request, response) => this.#answer(request, response));
  }

  /**
   * @param port to serve at; 0: any that is free
   * @throws UserError when it is taken
   */
  static async open(port: number): Promise<Board> {
    const plots = await loadPlots();
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', resolve);
    }).catch((error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'it is taken' : (error.code ?? error.message);
      throw new UserError(`can't serve the board at port ${port}: ${why}; give another, or --board alone`);
    });
    return new Board(server, plots);
  }

  begin(run: WatchedRun): void {
    this.#run = run;
    this.#ended = false;
    this.#times = [];
  }

  step(_record: StepRecord): void {
    const now = performance.now();
    this.#times.push(now);
    while (this.#times.length > 2 && now - this.#times[0]! > speedOver) this.#times.shift();
  }

  epoch(_record: EpochRecord): void {}

  end(): void {
    this.#ended = true;
    this.#tell();
  }

  /** Tells the pages that nothing more comes, and stops serving. */
  async close(): Promise<void> {
    this.#tell();
    for (const reader of this.#readers) reader.end('event: end\ndata: 0\n\n');
    clearInterval(this.#looking);
    await new Promise((resolve) => {
      this.#server.close(resolve);
      this.#server.closeIdleConnections();
    });
  }

  #standing(): Standing | undefined {
    if (!this.#run) return undefined;
    const [first, last, count] = [this.#times[0], this.#times.at(-1), this.#times.length];
    const imagesPerSecond =
      first === undefined || count < 2
        ? undefined
        : (1000 * (count - 1) * this.#run.imagesAStep) / (last! - first);
    return { run: this.#run, imagesPerSecond, memory: process.memoryUsage.rss(), ended: this.#ended };
  }

  #content() {
    return boardContent(this.#standing(), this.#plots);
  }

  #tell(): void {
    if (this.#readers.size === 0) return;
    const data = `data: ${JSON.stringify(this.#content().text)}\n\n`;
    for (const reader of this.#readers) reader.write(data);
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    // A page of another site that has its name lead here asks under that name.
    const host = (request.headers.host ?? '').replace(/:\d+$/, '');
    if (request.method !== 'GET' || !['127.0.0.1', 'localhost'].includes(host)) {
      response.writeHead(403).end();
      return;
    }
    const serve = (type: string, text: string) => {
      const safety = { 'content-security-policy': contentPolicy, 'x-content-type-options': 'nosniff' };
      response.writeHead(200, { 'content-type': type, 'cache-control': 'no-store', ...safety }).end(text);
    };
    const { pathname } = new URL(request.url ?? '/', this.address);
    if (pathname === '/')
      serve('text/html; charset=utf-8', boardPage(this.#run?.name ?? 'pqv', this.#content()));
    else if (pathname === '/board.js') serve('text/javascript; charset=utf-8', script);
    else if (pathname === '/events') this.#follow(response);
    else response.writeHead(404).end();
  }

  #follow(response: ServerResponse): void {
    if (this.#readers.size >= mostReaders) {
      response.writeHead(503).end();
      return;
    }
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    this.#readers.add(response);
    response.on('close', () => {
      this.#readers.delete(response);
      if (this.#readers.size > 0) return;
      clearInterval(this.#looking);
      this.#looking = undefined;
    });
    this.#tell();
    this.#looking ??= setInterval(() => this.#tell(), lookEvery).unref();
  }
}
