import { createHash, type Hash } from 'node:crypto';
import { cpSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import * as z from 'zod';
import { UserError } from '../../common/errors.ts';
import { fileError, makeFolder, writeFilesWhole, writeFileWhole } from '../../common/files.node.ts';
import type { Progress } from '../../common/progress.ts';
import type { Split } from '../../dataset/dataset.ts';
import { torchScriptModule } from '../../export/torchscript/script.ts';
import type { Graph } from '../../graph/graph.ts';
import type { FakeQuantization } from '../../quantize/fake.ts';
import { withFeatures } from '../features.ts';
import type { Settings } from '../finetune-options.ts';
import { type Plan, recipeOf } from '../plan.ts';
import { listImages } from './image-list.node.ts';
import { type Job, jobOf } from './job.ts';
import { trainableModule } from './module.ts';

/** The Python that is run, as it lies in this package. */
const trainerFolder = dirname(createRequire(import.meta.url).resolve('#trainer'));

/** What a training leaves in the folder of its job. */
export const jobFiles = {
  checkpoint: 'checkpoint.pth',
  result: 'result.pth',
  history: 'history.json',
  stop: 'stop',
} as const;

export interface JobInput {
  readonly graph: Graph;
  readonly data: { readonly train: Split; readonly val: Split };
  readonly settings: Settings;
  /** The int8 numbers that the training is for, if it is for some. */
  readonly int8: FakeQuantization | undefined;
  readonly plan: Plan;
  readonly checkpointEvery: number;
  readonly resume: boolean;
  readonly progress: Progress;
}

/** A job on the disk. */
export interface JobFolder {
  readonly path: string;
  readonly digest: string;
  /** What the constants of the graph are called in the module's state. */
  readonly names: ReadonlyMap<string, string>;
  readonly int8: FakeQuantization | undefined;
}

/**
 * Writes all that a training elsewhere needs into one folder: the model and the teacher as TorchScript, the recipe, the
 * trainer, and where the images lie.
 * @throws UserError when the model has no TorchScript form, can't be trained so, or with `resume` when what is in
 *   the folder is of another recipe or model
 */
export async function writeJob(path: string, input: JobInput): Promise<JobFolder> {
  const { graph, data, settings, int8, plan, checkpointEvery, resume, progress } = input;
  makeJobFolder(path);
  const hash = createHash('sha256').update(recipeOf(settings, plan));
  const { dropPath } = settings;
  const features = settings.teacher !== undefined && settings.distillKind === 'feature';
  const { names, archive, paths } = trainableModule(graph, { features, dropPath, int8 });
  writeFileWhole(join(path, 'model.pt'), hashed(archive, hash));
  if (settings.teacher) {
    assertTeaches(settings.teacher, graph, settings);
    const teacher = features ? teachingFeatures(settings.teacher, graph, settings) : settings.teacher;
    writeFileWhole(join(path, 'teacher.pt'), hashed(torchScriptModule(teacher).archive, hash));
  }
  const digest = hash.digest('hex').slice(0, 16);
  const before = digestIn(path);
  if (resume && before !== undefined && before !== digest) {
    throw new UserError(
      `what was trained in ${path} is of another model or other options; start again without resuming, or use the same`,
    );
  }
  if (!resume || before === undefined) removeTraces(path);
  const [trainImages, heldOutImages] = [data.train.length, data.val.length];
  const job: Job = jobOf(graph, settings, plan, names, {
    ...{ digest, trainImages, heldOutImages, checkpointEvery, keeps: paths.map(({ keep }) => keep) },
  });
  const heldOut: Record<string, Split> = job.evaluate ? { 'heldout.jsonl': data.val } : {};
  const packed = await listImages(path, { 'train.jsonl': data.train, ...heldOut }, progress);
  if (packed > 0) {
    progress.note(
      `${(packed / 2 ** 20).toFixed(1)} MiB of images that lie in no file of their own are copied into ${path}`,
    );
  }
  cpSync(trainerFolder, join(path, 'trainer'), {
    recursive: true,
    filter: (file) => !file.includes('__pycache__'),
  });
  writeFilesWhole([[join(path, 'job.json'), JSON.stringify(job)]]);
  return { path, digest, names, int8 };
}

/** The teacher, giving what its blocks hand on behind its own outputs. */
function teachingFeatures(teacher: Graph, graph: Graph, { kept }: Settings): Graph {
  const taught = withFeatures(teacher, graph, kept);
  const byName = new Map(taught.graph.outputs.map((output) => [output.name, output]));
  const outputs = taught.graph.outputs.slice(0, teacher.outputs.length);
  taught.graph.outputs.length = 0;
  taught.graph.outputs.push(...outputs, ...taught.features.map((name) => byName.get(name)!));
  return taught.graph;
}

function makeJobFolder(path: string): void {
  try {
    makeFolder(path);
    rmSync(join(path, jobFiles.stop), { force: true });
  } catch (error) {
    throw fileError(error, `can't write ${path}`);
  }
}

function removeTraces(path: string): void {
  for (const name of Object.values(jobFiles)) rmSync(join(path, name), { force: true });
}

function* hashed(pieces: Iterable<Uint8Array>, hash: Hash): Iterable<Uint8Array> {
  for (const piece of pieces) {
    hash.update(piece);
    yield piece;
  }
}

/** What the job that lies there is of. */
function digestIn(path: string): string | undefined {
  const file = join(path, 'job.json');
  if (!existsSync(file)) return undefined;
  try {
    return z.object({ digest: z.string() }).parse(JSON.parse(readFileSync(file, 'utf8'))).digest;
  } catch {
    return undefined;
  }
}

/** @throws UserError when the teacher's outputs are not the model's, in their order */
function assertTeaches(teacher: Graph, graph: Graph, { task }: Settings): void {
  const lengths = (model: Graph) =>
    model.outputs.filter(({ dtype }) => dtype === 'float32').map(({ shape }) => shape?.slice(1).join(' x '));
  const [theirs, ours] = [lengths(teacher), lengths(graph)].map((all) =>
    task === 'distill' ? all : all.slice(0, 1),
  );
  if (`${theirs}` === `${ours}`) return;
  throw new UserError(
    `the teacher gives [${theirs!.join('], [')}] an image, the model [${ours!.join('], [')}]; they must be the same`,
  );
}
