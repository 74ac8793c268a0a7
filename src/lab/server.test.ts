import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type IncomingHttpHeaders, type RequestOptions, request } from 'node:http';
import { request as secureRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { tinyVariant } from '../../test/lab-variant.ts';
import { selfSigned } from './certificate.node.ts';
import type { Hello } from './protocol.ts';
import { runners } from './runners.ts';
import { LabServer } from './server.node.ts';
import { type Cell, type Device, LabSession } from './session.ts';
import { textOfFloats } from './text.ts';
import type { Variant } from './variant.ts';

let folder: string;
let session: LabSession;
let server: LabServer;
let left: { device: Device; lost: Cell | undefined }[];

const content = Buffer.from('a model');

/** A file whose outputs must be these, to a thousandth. */
function variant(id: string, values: number[]): Variant {
  const path = join(folder, `${id}.onnx`);
  writeFileSync(path, content);
  return tinyVariant({
    ...{ id, path, format: 'onnx', bytes: content.length },
    sha256: createHash('sha256').update(content).digest('hex'),
    expectation: { samples: [{ values }], tolerance: 1e-3, from: 'the test' },
  });
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'pqv-lab-'));
  left = [];
  const options = {
    title: 'test',
    runs: 3,
    warmup: 1,
    budget: 1000,
    limit: 60_000,
    pictures: [],
    timing: null,
    runners: runners.map(({ id }) => id),
  };
  session = new LabSession([variant('v0', [3, 4]), variant('v1', [1, 0])], options, {
    left: (device, lost) => left.push({ device, lost }),
  });
  server = await LabServer.open(session, { port: 0, hosts: ['127.0.0.1'], listen: '127.0.0.1' });
});

afterEach(async () => {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

/** A request as it is given, its path not tidied up as `fetch` would. */
const ask = (path: string, options: RequestOptions = {}, body?: string | Readable): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port: server.port, path, ...options }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
      });
      response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, text }));
    });
    sent.on('error', reject);
    if (body instanceof Readable) body.pipe(sent);
    else sent.end(body);
  });

const own = (path: string) => `/${server.token}/${path}`;
const origin = () => `http://127.0.0.1:${server.port}`;
const post = (path: string, body: unknown, headers: Record<string, string> = { origin: origin() }) =>
  ask(
    own(path),
    { method: 'POST', headers: { 'content-type': 'application/json', ...headers } },
    JSON.stringify(body),
  );

const hello: Hello = {
  name: 'a phone',
  userAgent: 'test',
  cores: 8,
  isolated: true,
  relaxedSimd: true,
  webgpu: false,
};

const join_ = async (name = 'a phone'): Promise<string> =>
  JSON.parse((await post('hello', { ...hello, name })).text).device;

const measured = (device: string, outputs: number[], of = 'v0') => ({
  device,
  variant: of,
  runner: 'onnx-wasm-1',
  status: 'measured',
  version: '1.0',
  threads: 1,
  load: 1,
  first: 1,
  median: 1,
  p95: 1,
  runs: 3,
  warmup: 1,
  outputs: [textOfFloats(Float32Array.from(outputs))],
});

describe('the lab', () => {
  it('serves its page isolated, and the models that are listed', async () => {
    const page = await ask(own(''));
    expect(page.status).toBe(200);
    expect(page.headers['cross-origin-opener-policy']).toBe('same-origin');
    expect(page.headers['cross-origin-embedder-policy']).toBe('require-corp');
    expect((await ask(own('code/lab/page/main.js'))).status).toBe(200);
    expect((await ask(own('model/v0'))).text).toBe('a model');
    const manifest = await ask(own('manifest.json'));
    expect(manifest.text).not.toContain(folder);
    expect(JSON.parse(manifest.text).variants[0]).not.toHaveProperty('expectation');
  });

  it('marks wrong outputs wrong, however fast', async () => {
    const device = await join_();
    expect(JSON.parse((await post('outcome', measured(device, [3, 4.001]))).text).right).toBe(true);
    expect(JSON.parse((await post('outcome', measured(device, [3, 4.1]))).text).right).toBe(false);
    expect(JSON.parse((await post('outcome', measured(device, [Number.NaN, 4]))).text)).toEqual({
      right: false,
      error: null,
    });
    expect(JSON.parse((await post('outcome', measured(device, [3]))).text).right).toBe(false);
  });

  it('refuses a file that was changed since it was listed, and says so of its cells', async () => {
    const device = await join_();
    await post('outcome', { device, variant: 'v0', runner: 'onnx-wasm-1', status: 'begun' });
    expect((await ask(own('model/v0'))).status).toBe(200);
    writeFileSync(session.variants[0]!.path, 'A model');
    const answer = await ask(own('model/v0'));
    expect(answer.status).toBe(409);
    expect(answer.text).toMatch(/changed/);
    const [cell] = session.devices.get(device)!.cells.values();
    expect(cell!.state).toMatchObject({ status: 'failed', reason: expect.stringMatching(/changed/) });
    expect((await ask(own('model/v1'))).text).toBe('a model');
  });

  it('is not there for who does not know the token', async () => {
    const wrong = server.token.replace(/^./, (letter) => (letter === 'A' ? 'B' : 'A'));
    for (const path of ['/', '/manifest.json', `/${wrong}/`, `/${wrong}/model/v0`, `/${server.token}`]) {
      const answer = await ask(path);
      expect([path, answer.status]).toEqual([path, 404]);
      expect(answer.text).not.toContain('model');
    }
    const sent = await ask(`/${wrong}/hello`, { method: 'POST', headers: { origin: origin() } }, '{}');
    expect(sent.status).toBe(404);
    expect(session.devices.size).toBe(0);
  });

  it.each([
    'model/../v0.onnx',
    '../../../../../../etc/passwd',
    '..%2f..%2f..%2fetc%2fpasswd',
    'code/../../package.json',
    'code/lab/../../../package.json',
    'ort/../package.json',
    'model/%2e%2e/v0.onnx',
    'model//etc/passwd',
    'code/lab/page/main.js%00.onnx',
    'constructor',
    'model/__proto__',
  ])('has nothing at %s', async (path) => {
    expect((await ask(own(path))).status).toBe(404);
  });

  it('refuses an upload of 100 MB before it is read', async () => {
    const size = 100 * 2 ** 20;
    const headers = { origin: origin(), 'content-type': 'application/json' };
    const said = await ask(own('outcome'), {
      method: 'POST',
      headers: { ...headers, 'content-length': String(size), expect: '100-continue' },
    }).catch((error: NodeJS.ErrnoException) => error.code);
    expect((said as Answer).status).toBe(413);

    let sent = 0;
    const endless = new Readable({
      read() {
        sent += 2 ** 16;
        this.push(sent > size ? null : Buffer.alloc(2 ** 16, 32));
      },
    });
    const unsaid = await ask(own('outcome'), { method: 'POST', headers }, endless).catch(
      (error: NodeJS.ErrnoException) => error.code,
    );
    expect([413, 'ECONNRESET', 'EPIPE']).toContain(typeof unsaid === 'object' ? unsaid.status : unsaid);
    expect(sent).toBeLessThan(size / 4);
    expect((await ask(own(''))).status).toBe(200);
  });

  it('takes messages from its own page alone', async () => {
    const others: Record<string, string>[] = [
      { origin: 'https://example.com' },
      { origin: 'null' },
      {},
      { origin: `http://localhost:${server.port}` },
      { origin: origin(), host: 'rebound.example' },
    ];
    for (const headers of others) expect((await post('hello', hello, headers)).status).toBe(403);
    expect((await ask(own(''), { headers: { host: 'rebound.example' } })).status).toBe(403);
    expect((await post('hello', hello, { origin: origin(), 'content-type': 'text/plain' })).status).toBe(415);
    expect(session.devices.size).toBe(0);
    expect((await post('hello', hello)).status).toBe(200);
  });

  it('speaks HTTPS by a certificate of its own, and then takes messages of that page alone', async () => {
    const certificate = selfSigned(['127.0.0.1']);
    const secure = await LabServer.open(session, {
      port: 0,
      hosts: ['127.0.0.1'],
      listen: '127.0.0.1',
      certificate,
    });
    const base = secure.address('127.0.0.1');
    expect(base).toMatch(/^https:/);
    const send = (from: string) =>
      new Promise<number>((resolve, reject) => {
        const headers = { origin: from, 'content-type': 'application/json' };
        const sent = secureRequest(
          `${base}hello`,
          { method: 'POST', headers, ca: certificate.cert, agent: false },
          (response) => resolve(response.resume().statusCode!),
        );
        sent.on('error', reject).end(JSON.stringify(hello));
      });
    expect(await send(new URL(base).origin)).toBe(200);
    expect(await send(new URL(base).origin.replace('https', 'http'))).toBe(403);
    await secure.close();
  });

  it('sends runtimes compressed to who takes that', async () => {
    const headers = { 'accept-encoding': 'gzip' };
    const small = await ask(own('ort/ort-wasm-simd-threaded.wasm'), { headers });
    const whole = await ask(own('ort/ort-wasm-simd-threaded.wasm'));
    expect(small.headers['content-encoding']).toBe('gzip');
    expect(Number(small.headers['content-length'])).toBeLessThan(Number(whole.headers['content-length']) / 3);
    expect(whole.headers['content-type']).toBe('application/wasm');
  });

  it('takes no message of another form', async () => {
    const device = await join_();
    for (const [path, body] of [
      ['hello', { ...hello, cores: -1 }],
      ['hello', { ...hello, name: 'x'.repeat(1000) }],
      ['outcome', { ...measured(device, [3, 4]), median: '1' }],
      ['outcome', measured('00000000-0000-4000-8000-000000000000', [3, 4])],
      ['outcome', measured(device, [3, 4], 'v9')],
      ['outcome', { ...measured(device, [3, 4]), runner: 'tflite-wasm-1' }],
    ] as const) {
      expect((await post(path, body)).status).toBe(400);
    }
    expect((await post('elsewhere', {})).status).toBe(404);
    expect((await ask(own(''), { method: 'DELETE' })).status).toBe(405);
  });

  it('serves fifty devices at once, a column each', async () => {
    const run = async (i: number) => {
      const device = await join_('a phone');
      expect((await ask(own('model/v1'))).text).toBe('a model');
      const answer = await post('outcome', { ...measured(device, [1, 0], 'v1'), median: i + 1 });
      expect(JSON.parse(answer.text)).toEqual({ right: true, error: 0 });
      return device;
    };
    const ids = await Promise.all(Array.from({ length: 50 }, (_, i) => run(i)));
    expect(new Set(ids).size).toBe(50);
    expect(new Set([...session.devices.values()].map(({ name }) => name)).size).toBe(50);
    for (const [i, id] of ids.entries()) {
      const [cell] = session.devices.get(id)!.cells.values();
      expect(cell!.state).toMatchObject({ status: 'measured', figures: { median: i + 1 } });
    }
  });

  it('lets no device write to the terminal but text', async () => {
    const device = await join_('\u001b[2J\u202ephone\n');
    expect(session.devices.get(device)!.name).toMatch(/^\\u001b\[2J\\u202ephone$/);
    const failed = {
      device,
      variant: 'v0',
      runner: 'onnx-wasm-1',
      status: 'failed',
      reason: 'a\u001b]0;b\u0007',
    };
    expect((await post('outcome', failed)).status).toBe(200);
    const [cell] = session.devices.get(device)!.cells.values();
    expect(cell!.state).toMatchObject({ reason: 'a\\u001b]0;b\\u0007' });
  });

  it('knows a page that is loaded again', async () => {
    const device = await join_('mine');
    await post('outcome', measured(device, [3, 4]));
    const again = JSON.parse((await post('hello', { ...hello, name: 'mine', again: device })).text);
    expect(again.name).toBe('mine');
    expect(JSON.parse((await post('hello', { ...hello, name: 'mine' })).text).name).toBe('mine (2)');
    expect([...session.devices.get(again.device)!.cells.values()]).toHaveLength(1);
    expect(session.devices.size).toBe(2);
  });

  it('loses of a device that leaves only what it was at', async () => {
    const [stays, leaves] = [await join_('one'), await join_('other')];
    const line = request({ host: '127.0.0.1', port: server.port, path: own(`line?device=${leaves}`) });
    line.on('error', () => {});
    await new Promise<void>((resolve) => line.end().on('response', () => resolve()));
    await post('outcome', measured(leaves, [3, 4]));
    for (const device of [stays, leaves]) {
      await post('outcome', { device, variant: 'v1', runner: 'onnx-wasm-1', status: 'begun' });
    }
    line.destroy();
    await expect.poll(() => left.length).toBe(1);
    expect(left[0]!.lost?.variant.id).toBe('v1');
    const states = (id: string) =>
      [...session.devices.get(id)!.cells.values()].map(({ state }) => state.status);
    expect(states(leaves)).toEqual(['measured']);
    expect(states(stays)).toEqual(['begun']);
    expect(JSON.parse((await post('outcome', measured(stays, [1, 0], 'v1'))).text).right).toBe(true);
  });
});
