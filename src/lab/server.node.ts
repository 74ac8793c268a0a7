import { createHash, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { z } from 'zod';
import { UserError } from '../common/errors.ts';
import { parseJsonAs } from '../common/json.ts';
import { type Asset, assets } from './assets.node.ts';
import type { Certificate } from './certificate.node.ts';
import type { DeviceTimer } from './device-timer.ts';
import { ModelStore } from './model-store.node.ts';
import { labPage } from './page/page.ts';
import { goodbyeSchema, helloSchema, nextSchema, outcomeSchema } from './protocol.ts';
import { changed, type LabSession } from './session.ts';

/** Bytes of one message; what a device tells of a cell is far less. */
const longestMessage = 1 << 20;
/** Pages that may hold a line open at once. */
const mostLines = 1000;

/** Milliseconds that a question may stay unanswered. */
const longestWait = 20_000;

/** Isolated, so that WebAssembly has threads; nothing from anywhere else, and nobody may frame it. */
const headers = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
  'cross-origin-resource-policy': 'same-origin',
  'content-security-policy':
    "default-src 'none'; script-src 'self' blob: 'wasm-unsafe-eval'; worker-src 'self' blob:; connect-src 'self'; style-src 'unsafe-inline'; img-src data: blob:; frame-ancestors 'none'; form-action 'none'; base-uri 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
};

/** An answer that ends a request: what it says is shown to whoever asked. */
class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export interface LabServerOptions {
  /** 0: any that is free. */
  readonly port: number;
  /** Names and numbers under which it is reached; requests under others are refused. */
  readonly hosts: readonly string[];
  /** Where it listens: `127.0.0.1`, or `0.0.0.0` for every network. */
  readonly listen: string;
  /** Who hands out graphs to be timed. */
  readonly timer?: DeviceTimer | undefined;
  /** Of HTTPS; plain HTTP without. */
  readonly certificate?: Certificate | undefined;
}

/**
 * Serves a lab: its page, the runtimes, the listed models, and a place for results, all below a random path that only who was
 * told it knows. Files are found in tables by ids; no path from outside ever reaches the file system.
 */
export class LabServer {
  /** Unguessable: 128 bits. */
  readonly token = randomBytes(16).toString('base64url');
  readonly port: number;
  readonly #server: Server;
  readonly #session: LabSession;
  readonly #options: LabServerOptions;
  readonly #assets: Map<string, Asset>;
  readonly #models = new ModelStore();
  readonly #compressed = new Map<string, Promise<Uint8Array>>();
  readonly #lines = new Set<ServerResponse>();

  private constructor(
    server: Server,
    session: LabSession,
    table: Map<string, Asset>,
    options: LabServerOptions,
  ) {
    this.#server = server;
    this.#session = session;
    this.#assets = table;
    this.#options = options;
    this.port = (server.address() as AddressInfo).port;
    server.on('request', (request, response) => void this.#answer(request, response));
  }

  /**
   * @throws UserError when the port is taken, or a runtime is not installed
   */
  static async open(session: LabSession, options: LabServerOptions): Promise<LabServer> {
    const formats = session.variants.map(({ format }) => format);
    const table = assets(new Set(options.timer ? [...formats, 'onnx' as const] : formats));
    const limits = { requestTimeout: 60_000, headersTimeout: 20_000 };
    const server: Server = options.certificate
      ? createSecureServer({ ...limits, ...options.certificate })
      : createServer(limits);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(options.port, options.listen, resolve);
    }).catch((error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'it is taken' : (error.code ?? error.message);
      throw new UserError(`can't serve the lab at port ${options.port}: ${why}; give another with --port`);
    });
    return new LabServer(server, session, table, options);
  }

  /** Where the page is for who reaches this machine as `host`. */
  address(host: string): string {
    return `${this.#scheme}://${host}:${this.port}/${this.token}/`;
  }

  get #scheme(): string {
    return this.#options.certificate ? 'https' : 'http';
  }

  /** Tells the pages that the lab is over, and stops serving. */
  async close(): Promise<void> {
    for (const line of this.#lines) line.end('event: end\ndata: 0\n\n');
    await new Promise((resolve) => {
      this.#server.close(resolve);
      this.#server.closeAllConnections();
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      await this.#serve(request, response);
    } catch (error) {
      const refusal =
        error instanceof Refusal
          ? error
          : error instanceof UserError
            ? new Refusal(400, error.message)
            : undefined;
      if (!response.headersSent) {
        response.writeHead(refusal?.status ?? 500, {
          ...headers,
          'content-type': 'text/plain; charset=utf-8',
          'cache-control': 'no-store',
          connection: 'close',
        });
      }
      response.end(refusal?.message ?? 'something went wrong here');
    }
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { host, origin } = request.headers;
    // A page of another site that has its name lead here asks under that name.
    const known = this.#options.hosts.some((name) => host === `${name}:${this.port}`);
    if (!known) throw new Refusal(403, 'not under this name');
    const path = /^\/([\w-]+)\/([\w./-]*)(?:\?|$)/.exec(request.url ?? '');
    if (!path || !isSame(path[1]!, this.token)) throw new Refusal(404, 'nothing here');
    const name = path[2]!;
    if (request.method === 'POST') {
      if (origin !== `${this.#scheme}://${host}`) throw new Refusal(403, 'only the lab’s own page may send');
      send(response, 'application/json', JSON.stringify(await this.#receive(name, request)));
      return;
    }
    if (request.method !== 'GET') throw new Refusal(405, 'GET and POST only');
    if (name === '') send(response, 'text/html; charset=utf-8', labPage(this.#session.options.title));
    else if (name === 'manifest.json')
      send(response, 'application/json', JSON.stringify(this.#session.manifest()));
    else if (name === 'line') this.#hold(request, response);
    else if (name.startsWith('model/')) await this.#model(name.slice('model/'.length), response);
    else if (name.startsWith('graph/')) {
      const bytes = this.#options.timer?.bytes(name);
      if (!bytes) throw new Refusal(404, 'nothing here');
      send(response, 'application/octet-stream', bytes);
    } else {
      const asset = this.#assets.get(name);
      if (!asset) throw new Refusal(404, 'nothing here');
      const cache = { 'cache-control': 'private, max-age=3600' };
      if (/\bgzip\b/.test(String(request.headers['accept-encoding'] ?? '')))
        send(response, asset.type, await this.#gzipped(name, asset), {
          ...cache,
          'content-encoding': 'gzip',
        });
      else send(response, asset.type, asset.content(), cache);
    }
  }

  /** Runtimes are tens of megabytes, a quarter of that compressed: phones fetch them once a cell. */
  #gzipped(name: string, asset: Asset): Promise<Uint8Array> {
    const known = this.#compressed.get(name) ?? compress(asset.content());
    this.#compressed.set(name, known);
    return known;
  }

  async #model(id: string, response: ServerResponse): Promise<void> {
    const variant = this.#session.variants.find((each) => each.id === id);
    if (!variant) throw new Refusal(404, 'nothing here');
    const bytes = await this.#models.bytes(variant);
    if (!bytes) {
      this.#session.tampered(variant);
      throw new Refusal(409, changed);
    }
    send(response, 'application/octet-stream', bytes);
  }

  async #receive(name: string, request: IncomingMessage): Promise<unknown> {
    const read = async <S extends z.ZodType>(schema: S) =>
      parseJsonAs(schema, await bodyOf(request), 'the message');
    if (name === 'hello') {
      const { id, name: shown } = this.#session.join(await read(helloSchema), randomUUID());
      return { device: id, name: shown };
    }
    if (name === 'outcome') return this.#session.report(await read(outcomeSchema));
    if (name === 'goodbye') {
      this.#session.leave((await read(goodbyeSchema)).device);
      return {};
    }
    const { timer } = this.#options;
    if (name === 'next' && timer) return this.#next(timer, await read(nextSchema));
    throw new Refusal(404, 'nothing here');
  }

  async #next(timer: DeviceTimer, { device, result, failed }: z.output<typeof nextSchema>): Promise<unknown> {
    if (!this.#session.devices.has(device)) throw new Refusal(404, 'no such device; load the page again');
    if (failed !== undefined) {
      timer.lost(device, `the device could not time the graphs: ${failed}`);
      return 'done';
    }
    if (result) timer.take(device, result);
    return timer.next(device, longestWait);
  }

  /** A line that a device holds open while it is there. */
  #hold(request: IncomingMessage, response: ServerResponse): void {
    const device = new URL(request.url!, 'http://lab').searchParams.get('device') ?? '';
    if (!this.#session.devices.has(device)) throw new Refusal(404, 'no such device');
    if (this.#lines.size >= mostLines) throw new Refusal(503, 'too many devices');
    response.writeHead(200, { ...headers, 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    response.write(': here\n\n');
    this.#lines.add(response);
    response.on('close', () => {
      this.#lines.delete(response);
      this.#session.leave(device);
    });
  }
}

const compress = promisify<string | Uint8Array, Uint8Array>(gzip);

function send(
  response: ServerResponse,
  type: string,
  content: string | Uint8Array,
  more: Record<string, string> = {},
): void {
  response.writeHead(200, {
    ...headers,
    'content-type': type,
    'content-length': Buffer.byteLength(content),
    'cache-control': 'no-store',
    ...more,
  });
  response.end(content);
}

/** Takes as long whichever letter differs. */
function isSame(a: string, b: string): boolean {
  const [first, second] = [a, b].map((text) => createHash('sha256').update(text).digest());
  return timingSafeEqual(first!, second!);
}

/** The text of a message. @throws Refusal when it is too long, before it is read, or is not said to be JSON */
async function bodyOf(request: IncomingMessage): Promise<string> {
  const tooLong = new Refusal(413, `messages have ${longestMessage} bytes at most`);
  if (!/^application\/json\b/.test(request.headers['content-type'] ?? ''))
    throw new Refusal(415, 'JSON only');
  if (Number(request.headers['content-length'] ?? 0) > longestMessage) throw tooLong;
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    length += piece.length;
    if (length > longestMessage) throw tooLong;
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}
