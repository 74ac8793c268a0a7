import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parquetWriteBuffer } from 'hyparquet-writer';
import sharp from 'sharp';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { hubDataset } from './hub-dataset.node.ts';
import { openDataset } from './open.node.ts';

const root = mkdtempSync(join(tmpdir(), 'hub-dataset-'));
const commitOf = (key: string) => createHash('sha1').update(key).digest('hex');
/** Files of the data sets by `id@revision`. */
let repositories: Record<string, Record<string, Buffer>>;
let asked: string[] = [];
let count = 0;

const server = createServer((request, response) => {
  asked.push(`${request.method} ${request.url}`);
  const [, api, id, revision, , name] =
    /^\/(api\/)?datasets\/(\w+\/\w+)\/(?:revision|resolve)\/([\w%.]+)(\/(.+))?$/.exec(request.url!) ?? [];
  const wanted = decodeURIComponent(revision ?? '');
  const key = Object.keys(repositories).find((at) => at === `${id}@${wanted}` || commitOf(at) === wanted);
  const files = key && repositories[key];
  if (!files) return response.writeHead(404, { 'x-error-code': 'RepoNotFound' }).end();
  if (api) {
    const siblings = Object.keys(files).map((rfilename) => ({ rfilename }));
    return response.end(JSON.stringify({ sha: commitOf(key), siblings }));
  }
  const bytes = files[decodeURIComponent(name!)]!;
  const etag = createHash('sha256').update(bytes).digest('hex');
  const headers = { 'x-repo-commit': commitOf(key), etag: `"${etag}"`, 'content-length': bytes.length };
  return response.writeHead(200, headers).end(request.method === 'HEAD' ? undefined : bytes);
});

let png: Buffer;
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  png = await sharp({ create: { width: 2, height: 2, channels: 3, background: 'white' } })
    .png()
    .toBuffer();
});
afterAll(() => {
  server.close();
  rmSync(root, { recursive: true });
});
beforeEach(() => {
  asked = [];
  vi.stubEnv('HF_ENDPOINT', `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  vi.stubEnv('HF_HUB_CACHE', join(root, `cache${count++}`));
  vi.stubEnv('HF_HUB_OFFLINE', '');
});
afterEach(() => {
  vi.unstubAllEnvs();
});

const parquet = (labels: readonly number[]): Buffer =>
  Buffer.from(
    parquetWriteBuffer({
      columnData: [
        { name: 'image', data: labels.map(() => ({ bytes: png, path: 'a.png' })) },
        { name: 'label', data: labels.map(BigInt) },
      ],
      schema: [
        { name: 'root', num_children: 2 },
        { name: 'image', num_children: 2, repetition_type: 'OPTIONAL' },
        { name: 'bytes', type: 'BYTE_ARRAY', repetition_type: 'OPTIONAL' },
        { name: 'path', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
        { name: 'label', type: 'INT64', repetition_type: 'OPTIONAL' },
      ],
    }),
  );

describe('a data set of the Hub', () => {
  it('is fetched into the cache once, of its files only those that are read', async () => {
    repositories = {
      'owner/digits@main': {
        'README.md': Buffer.from('#'),
        'data/train-00000-of-00001.parquet': parquet([0, 1, 1]),
        'data/validation-00000-of-00001.parquet': parquet([1, 0]),
        'data/test-00000-of-00001.parquet': parquet([1, 0]),
      },
    };
    const { name, train, val } = await openDataset('owner/digits');
    expect([name, train.length, val.length]).toEqual(['owner/digits', 3, 2]);
    expect((await train.read(0)).width).toBe(2);
    expect(asked.filter((line) => line.startsWith('GET') && line.includes('resolve'))).toHaveLength(2);
    const before = asked.length;
    const again = await openDataset('owner/digits', { offline: true });
    expect([again.train.length, asked.length]).toEqual([3, before]);
  });

  it('is taken from what the Hub made of it where its own files are not read', async () => {
    repositories = {
      'owner/photos@main': { 'images.zip': Buffer.from('zip') },
      'owner/photos@refs/convert/parquet': { 'default/train/0000.parquet': parquet([0, 1, 0, 1]) },
    };
    const notes: string[] = [];
    const progress = { task: () => ({ update() {}, done() {} }), note: (line: string) => notes.push(line) };
    const { train, val } = await openDataset('owner/photos', { progress });
    expect([train.length, val.length]).toEqual([2, 2]);
    expect(notes.join()).toContain('owner/photos is read as the parquet files that the Hub made of it');
  });

  it('is one of several in a repository, by its folder', async () => {
    repositories = {
      'owner/both@main': { 'a/train.parquet': parquet([0, 0]), 'b/train.parquet': parquet([0, 1, 2, 3]) },
    };
    await expect(openDataset('owner/both')).rejects.toThrow(
      'owner/both holds several data sets; give one of the folders owner/both/a, owner/both/b',
    );
    expect((await openDataset('owner/both/b')).classes).toHaveLength(4);
  });

  it('is refused in one line where there is none, and is not asked for where a folder is meant', async () => {
    repositories = { 'owner/text@main': { 'train.csv': Buffer.from('a') } };
    await expect(openDataset('owner/none')).rejects.toThrow('owner/none: there is no such data set');
    await expect(openDataset('owner/text@main')).rejects.toThrow('has no .parquet or .tar files');
    await expect(openDataset('owner/none', { offline: true })).rejects.toThrow('is not in the cache');
    const before = asked.length;
    await expect(openDataset(join(root, 'none'))).rejects.toThrow('no data set at');
    await expect(openDataset('src/none')).rejects.toThrow('no data set at src/none');
    expect(asked.length).toBe(before);
  });

  it('is named as people write it', () => {
    expect(hubDataset('hf://datasets/uoft-cs/cifar10/plain_text@v1.0')).toEqual({
      kind: 'dataset',
      id: 'uoft-cs/cifar10',
      folder: 'plain_text',
      revision: 'v1.0',
    });
    for (const text of ['cifar10', 'a/../b', '/data/images', './a/b'])
      expect(hubDataset(text)).toBeUndefined();
  });
});
