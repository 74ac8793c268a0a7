import { createHash } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UserError } from '../../common/errors.ts';
import { silent } from '../../common/progress.ts';
import { HubSnapshot } from './hub.node.ts';
import { hubSettings } from './settings.node.ts';

const root = mkdtempSync(join(tmpdir(), 'hub-'));
afterAll(() => rmSync(root, { recursive: true }));

const commit = 'c'.repeat(40);
const weights = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 31) % 251));
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
const gitName = (bytes: Buffer) =>
  createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');

type Handler = (request: IncomingMessage, response: ServerResponse) => void;
/** What the servers are asked, in order. */
let asked: { method: string; url: string; range: string | undefined; token: string | undefined }[] = [];
let servers: Server[] = [];
let cache: string;
let count = 0;

beforeEach(() => {
  asked = [];
  cache = join(root, `${++count}`);
});
afterEach(() => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  servers = [];
});

async function serve(handler: Handler): Promise<string> {
  const server = createServer((request, response) => {
    const { method, url, headers } = request;
    asked.push({ method: method!, url: url!, range: headers.range, token: headers.authorization });
    handler(request, response);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Answers as the Hub does for one file, whole or from where it was asked to go on. */
function give(request: IncomingMessage, response: ServerResponse, bytes = weights, etag = sha256(bytes)) {
  const headers = { 'x-repo-commit': commit, etag: `"${etag}"`, 'accept-ranges': 'bytes' };
  if (request.method === 'HEAD')
    return response.writeHead(200, { ...headers, 'content-length': bytes.length }).end();
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const range = start ? { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` } : {};
  const part = bytes.subarray(start);
  return response
    .writeHead(start ? 206 : 200, { ...headers, ...range, 'content-length': part.length })
    .end(part);
}

/** Sends the first so many bytes of what is left, and then does something else. */
function begin(request: IncomingMessage, response: ServerResponse, length: number, then: () => void) {
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const range = { 'content-range': `bytes ${start}-${weights.length - 1}/${weights.length}` };
  response.writeHead(start ? 206 : 200, {
    'content-length': weights.length - start,
    ...(start ? range : {}),
  });
  response.write(weights.subarray(start, start + length), () => setTimeout(then, 20));
}

const opened = (endpoint: string, options: object = {}) => {
  const settings = { endpoint, cache, token: 'secret', offline: false, timeout: 250 };
  return new HubSnapshot({ id: 'owner/name' }, { settings, patience: 1, ...options });
};
const fetched = async (endpoint: string, options = {}) => {
  const snapshot = opened(endpoint, options);
  expect(await snapshot.fetch('w.bin')).toBe(true);
  return readFileSync(join(snapshot.folder, 'w.bin'));
};
const gets = () => asked.filter(({ method }) => method === 'GET');
const blobs = () => readdirSync(join(cache, 'models--owner--name', 'blobs'));

describe('HubSnapshot', () => {
  it('keeps files as huggingface_hub does, and asks for none twice', async () => {
    const text = Buffer.from('{"a": 1}');
    const endpoint = await serve((request, response) =>
      request.url!.endsWith('config.json')
        ? give(request, response, text, gitName(text))
        : give(request, response),
    );
    const snapshot = opened(endpoint);
    expect(await snapshot.fetch('config.json')).toBe(true);
    expect(await snapshot.fetch('w.bin')).toBe(true);
    const own = join(cache, 'models--owner--name');
    expect(readFileSync(join(own, 'refs', 'main'), 'utf8')).toBe(commit);
    expect(blobs().sort()).toEqual([gitName(text), sha256(weights)].sort());
    expect(snapshot.folder).toBe(join(own, 'snapshots', commit));
    expect(lstatSync(join(snapshot.folder, 'w.bin')).isSymbolicLink()).toBe(true);
    expect(readFileSync(join(snapshot.folder, 'w.bin')).equals(weights)).toBe(true);
    expect(asked.map(({ url }) => url)).toContain(`/owner/name/resolve/${commit}/w.bin`);
    expect(new Set(asked.map(({ token }) => token))).toEqual(new Set(['Bearer secret']));
    const before = gets().length;
    expect(await fetched(endpoint)).toEqual(weights);
    expect(gets().length).toBe(before);
  });

  it('goes on where a connection was cut, and where it stalled', async () => {
    const faults = [
      (request: IncomingMessage, response: ServerResponse) =>
        begin(request, response, 100_000, () => response.destroy()),
      (request: IncomingMessage, response: ServerResponse) => begin(request, response, 50_000, () => {}),
    ];
    const endpoint = await serve((request, response) => {
      const fault = request.method === 'GET' ? faults.shift() : undefined;
      if (fault) fault(request, response);
      else give(request, response);
    });
    expect((await fetched(endpoint)).equals(weights)).toBe(true);
    const starts = gets().map(({ range }) => Number(/\d+/.exec(range ?? '0')![0]));
    expect(starts).toEqual([0, 100_000, 150_000]);
    expect(blobs()).toEqual([sha256(weights)]);
  });

  it('goes on with what an earlier process left, or from the start where the server can not', async () => {
    const place = join(cache, 'models--owner--name', 'blobs');
    mkdirSync(place, { recursive: true });
    writeFileSync(join(place, `${sha256(weights)}.incomplete`), weights.subarray(0, 1000));
    const endpoint = await serve((request, response) => {
      delete request.headers.range;
      give(request, response);
    });
    expect((await fetched(endpoint)).equals(weights)).toBe(true);
    expect(gets().map(({ range }) => range)).toEqual(['bytes=1000-']);
  });

  it('follows redirects, and tells no other host the token', async () => {
    const store = await serve((request, response) => give(request, response));
    const endpoint = await serve((_, response) =>
      response
        .writeHead(302, {
          location: `${store}/cdn/file`,
          'x-repo-commit': commit,
          'x-linked-etag': `"${sha256(weights)}"`,
          'x-linked-size': weights.length,
        })
        .end(),
    );
    expect((await fetched(endpoint)).equals(weights)).toBe(true);
    expect(asked.filter(({ url }) => url === '/cdn/file').map(({ token }) => token)).toEqual([undefined]);
    const circle = await serve((_, response) => response.writeHead(302, { location: '/again' }).end());
    cache = join(root, 'circle');
    await expect(fetched(circle)).rejects.toThrow(/redirected more than 5 times/);
  });

  it('keeps nothing that does not match its checksum', async () => {
    const other = Buffer.from(weights);
    other[5] = 0;
    const endpoint = await serve((request, response) => give(request, response, other, sha256(weights)));
    await expect(fetched(endpoint)).rejects.toThrow(/owner\/name\/w\.bin is damaged.*checksum/);
    expect(gets().length).toBe(2);
    expect(blobs()).toEqual([]);
  });

  it.each([
    [401, {}, /owner\/name: there is no such model, or it is private.*HF_TOKEN/, 1],
    [403, { 'x-error-code': 'GatedRepo' }, /access denied; accept its conditions/, 1],
    [404, { 'x-error-code': 'RepoNotFound' }, /there is no such model/, 1],
    [404, { 'x-error-code': 'RevisionNotFound' }, /no such revision/, 1],
    [429, {}, /too many requests/, 5],
    [429, { 'retry-after': '3600' }, /too many requests; it asks to wait 3600 s/, 1],
    [503, {}, /the server says 503/, 5],
  ])('says what %d %j means, in one line', async (status, headers, message, times) => {
    const endpoint = await serve((_, response) => response.writeHead(status, headers).end());
    const error = await fetched(endpoint).catch((thrown: unknown) => thrown as Error);
    expect(error).toBeInstanceOf(UserError);
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message).not.toContain('secret');
    expect(asked.length).toBe(times);
  });

  it('waits as long as a busy server asks, and gets through', async () => {
    let busy = 2;
    const endpoint = await serve((request, response) =>
      busy-- > 0 ? response.writeHead(429, { 'retry-after': '0' }).end() : give(request, response),
    );
    expect((await fetched(endpoint)).equals(weights)).toBe(true);
  });

  it('knows a file that the model has not', async () => {
    const endpoint = await serve((request, response) =>
      request.url!.endsWith('w.bin')
        ? give(request, response)
        : response.writeHead(404, { 'x-error-code': 'EntryNotFound', 'x-repo-commit': commit }).end(),
    );
    expect(await opened(endpoint).fetch('config.json')).toBe(false);
    expect((await fetched(endpoint)).equals(weights)).toBe(true);
  });

  it('takes nothing but the cache offline, and the cache where the Hub can not be reached', async () => {
    const endpoint = await serve((request, response) => give(request, response));
    await expect(opened(endpoint, { offline: true }).fetch('w.bin')).rejects.toThrow(
      /not in the cache.*offline/,
    );
    await fetched(endpoint);
    const before = asked.length;
    expect((await fetched(endpoint, { offline: true })).equals(weights)).toBe(true);
    expect(await opened(endpoint, { offline: true }).fetch('config.json')).toBe(false);
    expect(asked.length).toBe(before);
    const notes: string[] = [];
    const progress = { ...silent, note: (line: string) => notes.push(line) };
    expect((await fetched('http://127.0.0.1:1', { progress })).equals(weights)).toBe(true);
    expect(notes).toEqual([expect.stringMatching(/can't reach http:\/\/127\.0\.0\.1:1.*cache is taken/)]);
  });

  it('tells how far it is', async () => {
    const endpoint = await serve((request, response) => give(request, response));
    const labels: string[] = [];
    const progress = {
      ...silent,
      task: (label: string, total: number, unit: string) => {
        labels.push(`${label}: ${total} ${unit}`);
        return { update() {}, done: () => labels.push('done') };
      },
    };
    await fetched(endpoint, { progress });
    expect(labels).toEqual(['downloading owner/name/w.bin: 1 MB', 'done']);
  });

  it('is refused by what is no Hub', async () => {
    const endpoint = await serve((_, response) => response.writeHead(200).end('hello'));
    await expect(fetched(endpoint)).rejects.toThrow(/does not answer as the Hub does/);
    expect(existsSync(join(cache, 'models--owner--name', 'snapshots'))).toBe(false);
  });
});

describe('hubSettings', () => {
  it('reads the environment as huggingface_hub does', () => {
    const home = join(root, 'home');
    mkdirSync(home);
    writeFileSync(join(home, 'token'), 'kept\n');
    expect(hubSettings({ HF_HOME: home })).toEqual({
      endpoint: 'https://huggingface.co',
      cache: join(home, 'hub'),
      token: 'kept',
      offline: false,
      timeout: 10_000,
    });
    const given = {
      HF_ENDPOINT: 'http://mirror/',
      HF_HUB_CACHE: '/cache',
      HF_TOKEN: 'given',
      HF_HUB_OFFLINE: 'true',
      HF_HUB_DOWNLOAD_TIMEOUT: '3',
    };
    expect(hubSettings(given)).toEqual({
      endpoint: 'http://mirror',
      cache: '/cache',
      token: 'given',
      offline: true,
      timeout: 3000,
    });
    expect(() => hubSettings({ HF_ENDPOINT: 'mirror' })).toThrow(/HF_ENDPOINT=mirror is no address/);
  });
});
