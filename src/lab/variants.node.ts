import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { basename, join, relative, resolve, sep } from 'node:path';
import { UserError } from '../common/errors.ts';
import { fileError, refuseDevices } from '../common/files.node.ts';
import type { Progress } from '../common/progress.ts';
import type { Card } from '../export/card-schema.ts';
import { exportModelFile, fileDigest } from '../export/export-file.node.ts';
import { formatOfFile } from '../export/formats.node.ts';
import { cardOf, readCard } from '../export/read-card.node.ts';
import { openModel } from '../pipeline/open.node.ts';
import { readReport } from '../report/files.node.ts';
import type { Report } from '../report/schema.ts';
import { stageRows, trainedStage } from '../report/summary.ts';
import type { Engine } from '../runtime/session.ts';
import { expectationOf, goldenExpectation, outputsOf, samplesFor } from './expectations.ts';
import { inputForm, type Variant } from './variant.ts';

export interface Collecting {
  readonly engine: Engine;
  readonly progress: Progress;
  /** Also write a `.tflite` file of each stage of a run that has none, into its folder `lab`. */
  readonly tflite: boolean;
}

/** A file with its card, as it lies. */
interface Listed {
  readonly path: string;
  readonly file: string;
  readonly name: string;
  readonly format: 'onnx' | 'tflite';
  readonly card: Card;
  readonly sha256: string;
  readonly bytes: number;
  readonly madeFrom?: Variant['madeFrom'];
}

/**
 * The files to measure, of run directories and single files, and what each must give.
 * @returns why files were left out, a line each
 * @throws UserError when there is nothing to measure, or what was given is neither
 */
export async function collectVariants(
  sources: readonly string[],
  options: Collecting,
): Promise<{ variants: Variant[]; leftOut: string[] }> {
  const variants: Variant[] = [];
  const leftOut: string[] = [];
  const runs = sources.filter(isFolder).length;
  for (const source of sources) {
    const found = isFolder(source)
      ? await fromRun(source, options, leftOut)
      : await fromFile(source, options, leftOut);
    const prefix = runs > 1 && isFolder(source) ? `${basename(source)}: ` : '';
    for (const variant of found) {
      variants.push({ ...variant, id: `v${variants.length}`, title: prefix + variant.name });
    }
  }
  if (variants.length === 0) {
    const why = leftOut.length > 0 ? ` (${leftOut.join('; ')})` : '';
    throw new UserError(
      `${sources.join(', ')}: no .onnx or .tflite file that a browser could run${why}; export some with --formats onnx,tflite`,
    );
  }
  return { variants, leftOut };
}

const isFolder = (path: string): boolean => {
  try {
    return statSync(path).isDirectory();
  } catch (error) {
    throw fileError(error, `can't read ${path}`);
  }
};

type Found = Omit<Variant, 'id' | 'title'>;

async function fromRun(run: string, options: Collecting, leftOut: string[]): Promise<Found[]> {
  const report = readReport(run);
  const listed = await filesOf(run, report, options, leftOut);
  const reference = trainedStage(report);
  const last = report.stages.at(-1);
  const found: Found[] = [];
  const known = new Map<string, Float32Array[]>();
  for (const one of listed) {
    const form = inputForm(one.card);
    if (typeof form === 'string') {
      leftOut.push(`${one.file}: ${form}`);
      continue;
    }
    const samples = samplesFor(form.size[0] as 1 | 3, one.card.golden?.image);
    const outputsIn = async (file: string): Promise<{ outputs: Float32Array[]; card: Card } | undefined> => {
      const card = readCard(join(run, file));
      const input = card && inputForm(card);
      if (!card || !input || typeof input === 'string') return undefined;
      const key = `${file} ${samples[0]!.pixels}`;
      const output = card.outputs[0]!.name;
      const outputs =
        known.get(key) ??
        (await outputsOf(options.engine, { path: join(run, file), input, output }, samples));
      known.set(key, outputs);
      return { outputs, card };
    };
    const stage = report.stages.find((each) => one.name === nameOf(report, each)) ?? last;
    const truth = stage?.precision === 'fp32' ? stage : reference;
    const expected = truth && (await outputsIn(truth.file));
    const own = stage && stage !== truth ? await outputsIn(stage.file) : undefined;
    const sameScores = own?.card.scores === one.card.scores;
    found.push({
      ...described(one, form),
      run,
      samples: expected ? samples : samples.slice(0, 1),
      expectation: expected
        ? expectationOf(
            one.card,
            {
              outputs: expected.outputs,
              scores: expected.card.scores,
              from: `${truth.file} in ${options.engine.name}`,
            },
            sameScores ? own?.outputs : undefined,
          )
        : goldenExpectation(one.card),
    });
  }
  return found;
}

const nameOf = (report: Report, stage: Report['stages'][number]) =>
  stageRows(report).find((row) => row.stage === stage)?.name;

const described = ({ card, ...one }: Listed, input: Exclude<ReturnType<typeof inputForm>, string>) => ({
  name: one.name,
  path: one.path,
  file: one.file,
  format: one.format,
  precision: card.precision,
  bytes: one.bytes,
  sha256: one.sha256,
  ...(one.madeFrom ? { madeFrom: one.madeFrom } : {}),
  input,
  output: card.outputs[0]!.name,
  classNames: card.classNames,
  scores: card.scores,
  fit: { cropPct: card.image!.preprocessing.cropPct, cropMode: card.image!.preprocessing.cropMode },
});

/** The files of a run that browsers load: its stages in order, then what leaves it; the same bytes once. */
async function filesOf(
  run: string,
  report: Report,
  options: Collecting,
  leftOut: string[],
): Promise<Listed[]> {
  const last = stageRows(report).at(-1)?.name ?? 'model';
  const asked = [
    ...report.artifacts.map(({ file }) => ({ file, name: last })),
    ...stageRows(report).map(({ stage, name }) => ({ file: stage.file, name })),
  ];
  const listed: Listed[] = [];
  const others: string[] = [];
  for (const { file, name } of asked) {
    const format = formatOfFile(file)?.name;
    if (format !== 'onnx' && format !== 'tflite') {
      others.push(file);
      continue;
    }
    if (!isInside(run, file)) {
      leftOut.push(`${file}: it is not in the run's folder`);
      continue;
    }
    const one = list(join(run, file), file, name, format, leftOut);
    if (one && !listed.some(({ sha256 }) => sha256 === one.sha256)) listed.push(one);
  }
  if (others.length > 0) leftOut.push(`${others.join(', ')}: browsers load .onnx and .tflite files`);
  if (options.tflite) listed.push(...(await written(run, report, listed, options, leftOut)));
  const order = stageRows(report).map(({ name }) => name);
  return listed.sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
}

/** Whether a file that a report names is in the run's folder, links followed; one that is not there is nowhere. */
function isInside(run: string, file: string): boolean {
  const path = join(run, file);
  const [folder, place] = [realpathSync(run), existsSync(path) ? realpathSync(path) : resolve(path)];
  return place.startsWith(folder + sep) || place.startsWith(resolve(run) + sep);
}

/** `.tflite` files of stages that have none. */
async function written(
  run: string,
  report: Report,
  listed: readonly Listed[],
  { engine, progress }: Collecting,
  leftOut: string[],
): Promise<Listed[]> {
  const missing = stageRows(report).filter(
    ({ name }) => !listed.some((one) => one.name === name && one.format === 'tflite'),
  );
  const made: Listed[] = [];
  const task = progress.task('LiteRT files of the stages', missing.length, 'files');
  for (const [i, { stage, name }] of missing.entries()) {
    const folder = join(run, stage.file, '..');
    const path = join(run, 'lab', `${basename(folder)}.tflite`);
    try {
      if (!isNewer(path, stage.file, run)) {
        mkdirSync(join(run, 'lab'), { recursive: true });
        await exportModelFile(engine, await openModel(folder), 'tflite', path);
      }
      const one = list(path, relative(run, path), name, 'tflite', leftOut);
      const madeFrom = { file: stage.file, sha256: await fileDigest(join(run, stage.file)) };
      if (one) made.push({ ...one, madeFrom });
    } catch (error) {
      leftOut.push(`${name} as .tflite: ${(error as Error).message}`);
    }
    task.update(i + 1);
  }
  task.done();
  return made;
}

/** Whether a file written for the lab is of the stage as it is now. */
function isNewer(path: string, file: string, run: string): boolean {
  const [made, stage] = [path, join(run, file)].map(
    (one) => statSync(one, { throwIfNoEntry: false })?.mtimeMs,
  );
  return made !== undefined && stage !== undefined && made > stage && existsSync(cardOf(path));
}

async function fromFile(path: string, { engine }: Collecting, leftOut: string[]): Promise<Found[]> {
  const format = formatOfFile(path)?.name;
  if (format !== 'onnx' && format !== 'tflite')
    throw new UserError(`${path} is neither a run directory nor an .onnx or .tflite file`);
  const one = list(path, path, basename(path).slice(0, -format.length - 1), format, leftOut);
  if (!one) return [];
  const form = inputForm(one.card);
  if (typeof form === 'string') {
    leftOut.push(`${path}: ${form}`);
    return [];
  }
  const base = { ...described(one, form), run: undefined };
  const golden = one.card.golden?.image;
  if (format === 'tflite') {
    const expectation = goldenExpectation(one.card);
    return [{ ...base, samples: samplesFor(form.size[0] as 1 | 3, golden).slice(0, 1), expectation }];
  }
  const samples = samplesFor(form.size[0] as 1 | 3, golden);
  const outputs = await outputsOf(engine, { path, input: form, output: base.output }, samples);
  const { scores } = one.card;
  return [
    {
      ...base,
      samples,
      expectation: expectationOf(one.card, { outputs, scores, from: `itself in ${engine.name}` }),
    },
  ];
}

/** A file with its card; nothing, and why, where it can't be had. */
function list(
  path: string,
  file: string,
  name: string,
  format: 'onnx' | 'tflite',
  leftOut: string[],
): Listed | undefined {
  if (existsSync(`${path}.data`)) {
    leftOut.push(`${file}: its weights are in a second file, more than a browser loads`);
    return undefined;
  }
  if (!existsSync(path)) {
    leftOut.push(`${file}: it is gone`);
    return undefined;
  }
  refuseDevices(path);
  const card = readCard(path);
  if (!card) {
    leftOut.push(`${file}: it has no card, ${basename(cardOf(path))}; export it anew`);
    return undefined;
  }
  const bytes = readFileSync(path);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  if (sha256 !== card.sha256) {
    leftOut.push(`${file}: it is not the file that its card describes; export it anew`);
    return undefined;
  }
  return { path, file, name, format, card, sha256, bytes: bytes.length };
}
