import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InterruptedError, UserError } from '../../common/errors.ts';
import { fileError, refuseDevices } from '../../common/files.node.ts';
import { printable } from '../../common/printable.ts';
import type { Progress } from '../../common/progress.ts';
import type { ReportDevice, ReportDeviceCell } from '../../report/schema.ts';
import { judge } from '../judge.ts';
import { inputOf } from '../model-input.ts';
import { fileFacts } from '../results.ts';
import { tilesOf } from '../text.ts';
import type { Variant } from '../variant.ts';
import { type AndroidDevice, type Answer, lastLine, quoted } from './adb.node.ts';
import { type Tool, type ToolFigures, tools } from './tools.ts';

/** Where programs may be run from on Android without an app. */
const home = '/data/local/tmp';

export interface NativeRun {
  /** Programs on this machine, by the tool's option; others must be on the device already. */
  readonly programs: Readonly<Record<string, string | undefined>>;
  readonly runs: number;
  readonly warmup: number;
  /** That the timed runs of a file may take. */
  readonly seconds: number;
  /** Milliseconds beside these that a tool may take before it is given up; default five minutes. */
  readonly patience?: number;
  readonly progress: Progress;
  readonly signal: AbortSignal;
  /** Told of a cell that ended. */
  cell(device: string, variant: Variant, cell: ReportDeviceCell): void;
}

/** What a device came to, and which file each cell is of. */
export interface NativeResult {
  readonly device: ReportDevice;
  readonly of: ReadonlyMap<ReportDeviceCell, Variant>;
  readonly leftOut: string[];
}

/**
 * Has the tools of LiteRT and ONNX Runtime time files on an Android device, natively, on one thread and on as many as it has
 * cores, four at most. LiteRT's also computes the samples of each file, so that wrong results are told from fast ones. All that
 * was put on the device is taken away again. A device that goes away keeps what it measured before.
 * @throws UserError when the device has none of the tools, or takes no files
 */
export async function measureNatively(
  device: AndroidDevice,
  variants: readonly Variant[],
  run: NativeRun,
): Promise<NativeResult> {
  const facts = await factsOf(device);
  const folder = `${home}/pqv-${randomBytes(6).toString('hex')}`;
  const local = mkdtempSync(join(tmpdir(), 'pqv-adb-'));
  const leftOut: string[] = [];
  const of = new Map<ReportDeviceCell, Variant>();
  try {
    await make(device, folder);
    const programs = await installed(device, folder, run.programs);
    const usable = variants.filter(({ format }) => programs.has(format));
    for (const tool of tools) {
      const without = variants.filter(({ format }) => format === tool.format);
      if (without.length > 0 && !programs.has(tool.format)) leftOut.push(absent(tool, without.length));
    }
    if (usable.length === 0) throw new UserError(leftOut.join('; '));
    const threads = facts.cores > 1 ? [1, Math.min(4, facts.cores)] : [1];
    const task = run.progress.task(facts.name, usable.length * threads.length, 'measurements');
    try {
      for (const [i, variant] of usable.entries()) {
        const { tool, program } = programs.get(variant.format)!;
        const place: Place = {
          device,
          tool,
          program,
          folder,
          local,
          model: `${folder}/m${i}.${variant.format}`,
        };
        for await (const cell of cellsOf(place, variant, threads, run)) {
          of.set(cell, variant);
          run.cell(facts.name, variant, cell);
          task.update(of.size);
        }
      }
    } finally {
      task.done();
    }
  } catch (error) {
    const stopped = error instanceof InterruptedError;
    if (!stopped && !(error instanceof Gone)) throw error;
    if (!stopped) {
      if (of.size === 0) throw new UserError(`${facts.name} went away before anything was measured`);
      leftOut.push(`${facts.name} went away: what was not measured by then is missing`);
    }
  } finally {
    rmSync(local, { recursive: true, force: true });
    const { code } = await device.unstoppable.shell(['rm', '-rf', folder], shortLimit);
    if (code !== 0) run.progress.note(`${folder} may still be on ${facts.name}: it could not be removed`);
  }
  return { device: { ...facts, cells: [...of.keys()] }, of, leftOut };
}

/** The device does not answer any more. */
class Gone extends Error {}

/** Milliseconds for small commands; and beside the timed runs, for loading and warming up. */
const shortLimit = 30_000;
const usualPatience = 300_000;

const absent = ({ program, option, format }: Tool, files: number): string =>
  `${files} .${format} file${files === 1 ? '' : 's'}: the device has no ${home}/${program}, and ${option} names none`;

async function make(device: AndroidDevice, folder: string): Promise<void> {
  const { code, output, complaint } = await device.shell(['mkdir', folder], shortLimit);
  if (code !== 0)
    throw new UserError(`${device.serial}: can't make ${folder}: ${lastLine(output || complaint)}`);
}

/** Tools by the format they load: pushed where one is named, else as they lie on the device. */
async function installed(
  device: AndroidDevice,
  folder: string,
  given: NativeRun['programs'],
): Promise<Map<string, { tool: Tool; program: string }>> {
  const found = new Map<string, { tool: Tool; program: string }>();
  for (const tool of tools) {
    const file = given[tool.option];
    let program = `${home}/${tool.program}`;
    if (file !== undefined) {
      assertProgram(file, tool);
      program = `${folder}/${tool.program}`;
      await device.push(file, program);
      await device.shell(['chmod', '755', program], shortLimit);
    }
    const { code } = await device.shell(['test', '-x', program], shortLimit);
    if (code === 0) found.set(tool.format, { tool, program });
    else if (file !== undefined) throw new UserError(`${device.serial} can't run ${file}`);
  }
  return found;
}

function assertProgram(file: string, { option }: Tool): void {
  try {
    refuseDevices(file);
  } catch (error) {
    throw fileError(error, `${option} ${file}`);
  }
}

interface Place {
  readonly device: AndroidDevice;
  readonly tool: Tool;
  readonly program: string;
  readonly folder: string;
  readonly local: string;
  /** On the device. */
  readonly model: string;
}

/** A file on each number of threads; what a device computes is the same for all. */
async function* cellsOf(
  place: Place,
  variant: Variant,
  threads: readonly number[],
  run: NativeRun,
): AsyncGenerator<ReportDeviceCell> {
  const { device, tool, program, model } = place;
  await pushed(device, variant.path, model);
  const patience = run.patience ?? usualPatience;
  const verdict = await checked(place, variant, patience);
  for (const count of threads) {
    const facts = {
      ...fileFacts(variant),
      ...{ accelerator: 'cpu' as const, threads: count, runtime: `${tool.title}, ${tool.program}` },
      how: `${tool.title}, native, ${count} thread${count === 1 ? '' : 's'}`,
    };
    const limit = run.seconds * 1000 + patience;
    const words = tool.command({ ...run, program, model, threads: count });
    const answer = await running(place, words, limit);
    const figures = figuresIn(answer, tool, limit);
    yield typeof figures === 'string' ? { ...facts, failed: figures } : { ...facts, ...figures, ...verdict };
  }
  await device.shell(['rm', '-f', model], shortLimit);
}

async function pushed(device: AndroidDevice, from: string, to: string): Promise<void> {
  try {
    await device.push(from, to);
  } catch (error) {
    if (error instanceof UserError && !(await device.isConnected())) throw new Gone();
    throw error;
  }
}

/** Runs a tool; libraries may lie beside it. @throws Gone when the device does not answer any more */
async function running({ device, program }: Place, words: readonly string[], limit: number): Promise<Answer> {
  const beside = program.slice(0, program.lastIndexOf('/'));
  const line = `LD_LIBRARY_PATH=${quoted(`${beside}:${home}`)} ${words.map(quoted).join(' ')}`;
  const answer = await device.script(line, limit);
  if (answer.code === null && !(await device.isConnected())) throw new Gone();
  return answer;
}

/** The figures that a tool told, or why there are none. */
function figuresIn({ code, output, complaint }: Answer, tool: Tool, limit: number): ToolFigures | string {
  if (code === null) return `no answer within ${Math.round(limit / 1000)} s: left out`;
  if (code !== 0) return `${tool.program} ends with ${code}: ${lastLine(output || complaint)}`;
  return tool.read(output) ?? `${tool.program} tells no times that can be read: ${lastLine(output)}`;
}

/** Whether the device computes what the file must give; nothing where its tool can't be asked. */
async function checked(
  place: Place,
  { input, samples, expectation }: Variant,
  patience: number,
): Promise<Pick<ReportDeviceCell, 'right' | 'error'>> {
  const { device, tool, program, folder, local, model } = place;
  if (!tool.check || !expectation) return { right: null };
  const found: Float32Array[] = [];
  for (const sample of samples) {
    const files = { input: `${folder}/input`, output: `${folder}/output` };
    const values = inputOf(input, tilesOf(sample));
    writeFileSync(join(local, 'input'), new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    await pushed(device, join(local, 'input'), files.input);
    await device.shell(['rm', '-f', files.output], shortLimit);
    const words = tool.check({ program, model }, { ...files, shape: input.shape });
    const { code } = await running(place, words, patience);
    // Older builds know no such option, and write nothing.
    if (code !== 0 || !(await device.pull(files.output, join(local, 'output')))) return { right: null };
    found.push(floatsIn(join(local, 'output')));
  }
  const { right, error } = judge(found, expectation, 'cpu');
  return { right, error };
}

/** A file that is no float32 is no outputs. */
function floatsIn(path: string): Float32Array {
  if (statSync(path).size % 4 !== 0) return new Float32Array();
  return new Float32Array(Uint8Array.from(readFileSync(path)).buffer);
}

/** What a device is, by its own properties. */
async function factsOf(device: AndroidDevice): Promise<ReportDevice> {
  const asked = {
    maker: 'getprop ro.product.manufacturer',
    model: 'getprop ro.product.model',
    release: 'getprop ro.build.version.release',
    processor: 'getprop ro.soc.model',
    board: 'getprop ro.board.platform',
    cores: 'nproc',
    memory: "sed -n 's/^MemTotal: *//p' /proc/meminfo",
  };
  const line = Object.entries(asked)
    .map(([name, command]) => `echo ${name}=$(${command} 2>/dev/null)`)
    .join('; ');
  const { output, code, complaint } = await device.script(line, shortLimit);
  if (code === null)
    throw new UserError(
      `the Android device ${device.serial} does not answer: ${lastLine(complaint || output)}`,
    );
  const told = (name: keyof typeof asked) =>
    printable(new RegExp(`^${name}=(.*)$`, 'm').exec(output)?.[1]?.trim() ?? '');
  const model = [told('maker'), told('model')].filter(Boolean).join(' ') || device.serial;
  const cores = Number.parseInt(told('cores'), 10);
  const kilobytes = Number.parseInt(told('memory'), 10);
  const android = told('release') && `Android ${told('release')}`;
  return {
    name: [model, android].filter(Boolean).join(', '),
    userAgent: [android, told('processor') || told('board'), 'by adb'].filter(Boolean).join(', '),
    cores: cores >= 1 ? cores : 1,
    ...(kilobytes > 0 ? { memoryGigabytes: Math.round(kilobytes / 2 ** 20) } : {}),
    isolated: true,
    relaxedSimd: true,
    measuredAt: new Date().toISOString(),
    cells: [],
  };
}
