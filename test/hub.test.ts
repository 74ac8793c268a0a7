import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pqv, pqvIn, scratch, tinyArgs } from './command.ts';

const at = scratch();
const asked: string[] = [];
/** The Hub with one model: a folder that `pqv init` made. */
const server = createServer((request, response) => {
  asked.push(`${request.method} ${request.url}`);
  const name = /^\/(?:timm\/test_vit\.r160_in1k|someone\/vit)\/resolve\/\w+\/([\w.]+)$/.exec(
    request.url!,
  )?.[1];
  const headers = { 'x-repo-commit': 'd'.repeat(40) };
  try {
    const bytes = readFileSync(join(at('model'), name!));
    const known = { ...headers, etag: `"${name}-1"`, 'content-length': bytes.length };
    response.writeHead(200, known).end(request.method === 'HEAD' ? undefined : bytes);
  } catch {
    response.writeHead(404, { ...headers, 'x-error-code': name ? 'EntryNotFound' : 'RepoNotFound' }).end();
  }
});
let environment: NodeJS.ProcessEnv;

beforeAll(async () => {
  await pqv('init', ...tinyArgs, '-o', at('model'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  environment = { ...process.env, HF_ENDPOINT: `http://127.0.0.1:${port}`, HF_HOME: at('hf'), HF_TOKEN: '' };
});
afterAll(() => {
  server.close();
});

describe('models of the Hub', () => {
  it('are read by their names, and by those of timm, from the cache when they are there', async () => {
    const direct = await pqv('inspect', at('model'), '--json');
    const first = await pqvIn(environment, 'inspect', 'someone/vit', '--json');
    expect({ code: first.code, found: JSON.parse(first.stdout).stateHash }).toEqual({
      code: 0,
      found: JSON.parse(direct.stdout).stateHash,
    });
    const named = await pqvIn(environment, 'inspect', 'test_vit', '--json');
    expect(named.code).toBe(0);
    expect(asked.filter((line) => line.startsWith('GET')).length).toBe(4);
    const before = asked.length;
    const offline = await pqvIn(environment, 'inspect', 'hf-hub:someone/vit', '--json', '--offline');
    expect(JSON.parse(offline.stdout)).toEqual(JSON.parse(first.stdout));
    expect(asked.length).toBe(before);
  });

  it('are refused in one line where there are none', async () => {
    const { code, stderr } = await pqvIn(environment, 'inspect', 'someone/else');
    expect(code).toBe(2);
    expect(stderr).toMatch(/^pqv: error: someone\/else: there is no such model, or it is private.*\n$/);
    const offline = await pqvIn(environment, 'inspect', 'someone/else', '--offline');
    expect(offline.code).toBe(2);
    expect(offline.stderr).toMatch(/not in the cache/);
  });
});

describe('pqv list', () => {
  it('shows names with their weights, the default first', async () => {
    const { code, stdout } = await pqv('list', 'swin_tiny*', '--pretrained', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout).models).toEqual([
      {
        name: 'swin_tiny_patch4_window7_224',
        family: 'swin_transformer',
        built: true,
        parameters: 28288354,
        input: [3, 224, 224],
        classes: 1000,
        weights: ['ms_in1k', 'ms_in22k', 'ms_in22k_ft_in1k'].map((tag) => ({
          tag,
          repository: `timm/swin_tiny_patch4_window7_224.${tag}`,
        })),
      },
    ]);
    const text = await pqv('list', 'vit_base_patch16_clip_224');
    expect(text.stdout).toMatch(/vit_base_patch16_clip_224 +86\.6 M +3x224x224 +laion2b_ft_in12k_in1k /);
    expect((await pqv('list')).stdout).toMatch(/\n596 names;/);
  });

  it('suggests what is near', async () => {
    const { code, stderr } = await pqv('list', 'swin_tniy_patch4_window7_224');
    expect(code).toBe(2);
    expect(stderr).toMatch(/no name of timm's matches.*did you mean swin_tiny_patch4_window7_224/);
  });
});
