import { spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';

/**
 * A Python process that answers a line with a line. What it answers to the first is its version; undefined where there
 * is no such Python.
 */
export async function judge(python, script, args, first) {
  if (spawnSync(python, ['-c', 'import torch, timm'], { stdio: 'ignore' }).error) return undefined;
  const child = spawn(python, [script, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ask = async (line) => {
    child.stdin.write(`${line}\n`);
    const { value, done } = await lines.next();
    if (done) throw new Error(`${python} ended; it needs torch and timm`);
    return value;
  };
  return { version: await ask(first), ask, close: () => child.stdin.end('quit\n') };
}
