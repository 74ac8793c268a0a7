import { execFileSync, spawn } from 'node:child_process';
import { closeSync, existsSync, lstatSync, openSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { pqv, pqvIn, scratch, tinyArgs } from './command.ts';

const at = scratch();
const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));

beforeAll(async () => {
  expect(await pqv('init', ...tinyArgs, '-o', at('model'))).toMatchObject({ code: 0 });
});

/** Runs the command line with a stdout of its own. */
function withOutput(stdout: number | 'pipe', args: string[], leave = false) {
  const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', stdout, 'pipe'] });
  if (leave) child.stdout!.destroy();
  let stderr = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  return new Promise<{ code: number | null; stderr: string }>((resolve) => {
    child.on('close', (code) => resolve({ code, stderr }));
  });
}

describe('standard output', () => {
  it('may be closed by its reader', async () => {
    for (const args of [['--help'], ['inspect', at('model'), '--json']]) {
      expect(await withOutput('pipe', args, true)).toEqual({ code: 0, stderr: '' });
    }
  });

  it.skipIf(!existsSync('/dev/full'))('on a full disk is an error in one line', async () => {
    const full = openSync('/dev/full', 'w');
    const { code, stderr } = await withOutput(full, ['inspect', at('model')]);
    closeSync(full);
    expect(code).toBe(2);
    expect(stderr).toBe("pqv: error: can't write to standard output: the disk is full\n");
  });
});

describe('errors', () => {
  it('are one JSON document on stdout with --json, and a line on stderr', async () => {
    const missing = await pqv('inspect', at('nowhere'), '--json');
    expect(missing.code).toBe(2);
    const { error } = JSON.parse(missing.stdout);
    expect(error).toEqual({
      code: 'user',
      message: expect.stringMatching(/nowhere: no such file or folder/),
    });
    expect(missing.stderr).toBe(`pqv: error: ${error.message}\n`);
    const option = await pqv('inspect', at('model'), '--json', '--nonsense');
    expect(JSON.parse(option.stdout).error).toMatchObject({ message: expect.stringMatching(/--nonsense/) });
  });

  it('keep one line of at most 500 printable characters whatever a name holds', async () => {
    const named = await pqv('inspect', at('two\nlines\u001b[31m\u202e'));
    expect(named.stderr).toMatch(/two\\nlines\\u001b\[31m\\u202e: no such file/);
    const long = await pqv('inspect', at('x'.repeat(4000)));
    expect(long.code).toBe(2);
    expect(long.stderr).toMatch(/\n$/);
    expect(long.stderr.length).toBeLessThan(530);
  });

  it('say what the system says of a name', async () => {
    const long = await pqv('prune', at('model'), '-o', at('y'.repeat(300)), '--ratio', '0.5');
    expect(long).toMatchObject({ code: 2, stderr: expect.stringMatching(/the name is too long/) });
  });
});

it('never puts a file in the place of a pipe', async () => {
  execFileSync('mkfifo', [at('pipe.onnx')]);
  const refused = await pqv('export', at('model'), '--format', 'onnx', '-o', at('pipe.onnx'));
  expect(refused).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/it is a device or a pipe, not a file/),
  });
  expect(lstatSync(at('pipe.onnx')).isFIFO()).toBe(true);
});

it('takes no more threads than there are processors, and says so', async () => {
  const { code, stderr } = await pqv('compare', at('model'), at('model'), '--threads', '100000');
  expect(code).toBe(0);
  expect(stderr).toMatch(new RegExp(`so ${availableParallelism()} are used\\n`));
});

it('names the file that an error is about', async () => {
  writeFileSync(at('noise.onnx'), 'no model');
  const { stdout } = await pqv('inspect', at('noise.onnx'), '--json');
  expect(JSON.parse(stdout).error).toMatchObject({ code: 'user', file: at('noise.onnx') });
});

it('names the folder for scratch files that is not there', async () => {
  const lost = await pqvIn({ ...process.env, TMPDIR: at('gone') }, 'bench', at('model'), '--runs', '1');
  expect(lost).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/^pqv: error: .*gone.*: no such file/),
  });
  expect(lost.stderr.trim().split('\n')).toHaveLength(1);
});

it('reads regular files only', async () => {
  execFileSync('mkfifo', [at('model.fifo.onnx')]);
  for (const path of [at('model.fifo.onnx'), '/dev/zero']) {
    const { code, stderr } = await pqv('inspect', path);
    expect(code, stderr).toBe(2);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  }
});
