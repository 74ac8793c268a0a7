import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseHTML } from 'linkedom';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UserError } from '../common/errors.ts';
import { accuracyDomain } from './accuracy-axes.ts';
import { readReport, writeReport } from './files.node.ts';
import {
  formatBytes,
  formatCount,
  formatMilliseconds,
  formatPercent,
  formatPoints,
  formatSpeedup,
} from './format.ts';
import { reportHtml } from './html.ts';
import { labelBox, overlaps, placeLabels } from './labels.ts';
import { html } from './markup.ts';
import { runningMean, thinned } from './plots.ts';
import type { Report, ReportStage } from './schema.ts';
import { artifactToShip, outcome, stageRows } from './summary.ts';
import { stageTable } from './table.ts';
import { reportSamples } from './thumbnail.node.ts';

function stage(
  name: ReportStage['stage'],
  top1: number,
  parameters: number,
  bytes: number,
  median: number,
  more: Partial<ReportStage> = {},
): ReportStage {
  return {
    stage: name,
    precision: 'fp32',
    top1,
    top5: 1,
    samples: 2500,
    parameters,
    macs: parameters * 48,
    bytes,
    latencyMs: { median, p95: median * 1.1, runs: 50 },
    peakRssBytes: 92e6,
    file: `${name}/model.onnx`,
    ...more,
  };
}

/** A complete report of made-up figures. */
function exampleReport(): Report {
  return {
    model: 'tiny_vit',
    recipe: { data: 'mnist', prune: { ratio: 0.25, ignore: [] }, formats: ['onnx', 'ort'] },
    machine: { cpu: 'Test CPU', threads: 2, engine: 'onnxruntime 1.30.0', memoryBytes: 8e9 },
    measuredAt: '2030-01-02T03:04:05.678Z',
    stages: [
      stage('dense', 0.9788, 412_345, 1_690_000, 0.8),
      stage('pruned', 0.112, 340_112, 1_390_000, 0.74),
      stage('finetuned', 0.9784, 340_112, 1_390_000, 0.741),
      stage('quantized', 0.978, 340_112, 402_000, 0.5, { precision: 'int8', backend: 'mlas' }),
    ],
    artifacts: [
      { format: 'ort', file: 'artifacts/model.ort', bytes: 410_000 },
      { format: 'onnx', file: 'artifacts/model.onnx', bytes: 402_000 },
    ],
    training: Array.from({ length: 40 }, (_, i) => ({ step: i + 1, loss: 2 / (i + 1), lr: 3e-4 })),
    channels: [
      { layer: 'embed', kept: 48, total: 64 },
      { layer: 'blocks.0.mlp.fc1', kept: 190, total: 256 },
    ],
    samplesShown: [
      { id: '3/17', label: '3', predicted: '3', probability: 0.99, thumbnail: 'data:image/png;base64,AAAA' },
      { id: '7/2', label: '7', predicted: '1', probability: 0.61, thumbnail: 'data:image/png;base64,BBBB' },
    ],
  };
}

const page = async (report: Report) => parseHTML(await reportHtml(report)).document;
const texts = (document: Document, selector: string) =>
  [...document.querySelectorAll(selector)].map((element) => element.textContent?.trim());

describe('table', () => {
  it('shows each stage with units, numbers to the right, within 80 columns', () => {
    const lines = stageTable(exampleReport()).split('\n');
    expect(lines).toEqual([
      'stage        top-1  parameters    MACs     size   latency  speedup  peak memory',
      '─────────  ───────  ──────────  ──────  ───────  ────────  ───────  ───────────',
      'dense      97.88 %       412 k  19.8 M  1.69 MB  0.800 ms    1.00x      92.0 MB',
      'pruned     11.20 %       340 k  16.3 M  1.39 MB  0.740 ms    1.08x      92.0 MB',
      'finetuned  97.84 %       340 k  16.3 M  1.39 MB  0.741 ms    1.08x      92.0 MB',
      'int8       97.80 %       340 k  16.3 M   402 kB  0.500 ms    1.60x      92.0 MB',
    ]);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(80);
  });

  it('has the same text in colour', () => {
    const coloured = stageTable(exampleReport(), { colour: true });
    const esc = String.fromCharCode(27);
    expect(coloured).toContain(`${esc}[32m  1.60x${esc}[39m`);
    expect(coloured.replaceAll(new RegExp(`${esc}\\[\\d+m`, 'g'), '')).toBe(stageTable(exampleReport()));
  });

  it('says below, and on the page, where int8 was not faster than what it was made from', async () => {
    const report = exampleReport();
    report.machine = { ...report.machine, processorClass: 'x86, AVX2 without VNNI' };
    const { p95, runs } = report.stages[3]!.latencyMs!;
    report.stages[3]!.latencyMs = { median: 0.78, p95, runs };
    const line =
      'int8 is not faster than fp32 on this machine (x86, AVX2 without VNNI): 0.780 ms against 0.741 ms, 0.95x; its file is 0.29 of the size';
    expect(stageTable(report).split('\n').at(-1)).toBe(line);
    expect((await page(report)).body.textContent).toContain(line.replace('int8', 'Int8'));
    expect((await page(exampleReport())).body.textContent).not.toContain('is not faster');
  });

  it('puts a dash where nothing was measured', () => {
    const report = exampleReport();
    report.stages = [
      { ...report.stages[0]!, top1: undefined, latencyMs: undefined, peakRssBytes: undefined },
    ];
    expect(stageTable(report).split('\n')[2]).toBe(
      'dense      -       412 k  19.8 M  1.69 MB        -        -            -',
    );
  });
});

describe('summary', () => {
  it('compares stages with the dense one', () => {
    const rows = stageRows(exampleReport());
    expect(rows.map(({ name }) => name)).toEqual(['dense', 'pruned', 'finetuned', 'int8']);
    expect(rows[3]!.speedup).toBeCloseTo(1.6, 12);
    expect(rows[3]!.top1Change).toBeCloseTo(-0.0008, 12);
    expect(rows[0]!.top1Change).toBeUndefined();
    expect(outcome(exampleReport())!.smaller).toBeCloseTo(1_690_000 / 402_000, 12);
  });

  it('has no outcome without a dense model or without anything after it', () => {
    const report = exampleReport();
    expect(outcome({ ...report, stages: report.stages.slice(0, 1) })).toBeUndefined();
    expect(outcome({ ...report, stages: report.stages.slice(1) })).toBeUndefined();
  });

  it('names the file to ship: the marked one, else ONNX, else the first', () => {
    const report = exampleReport();
    const [ort, onnx] = report.artifacts;
    expect(artifactToShip(report)).toBe(onnx);
    expect(artifactToShip({ ...report, artifacts: [{ ...ort!, ship: true }, onnx!] })?.format).toBe('ort');
    expect(artifactToShip({ ...report, artifacts: [ort!] })).toBe(ort);
    expect(artifactToShip({ ...report, artifacts: [] })).toBeUndefined();
  });
});

it('writes numbers with sensible digits', () => {
  expect([0, 999, 71_235_904, 999_999].map(formatCount)).toEqual(['0', '999', '71.2 M', '1.00 M']);
  expect([512, 402_000, 346_270_624, 1.2e9].map(formatBytes)).toEqual([
    '512 B',
    '402 kB',
    '346 MB',
    '1.20 GB',
  ]);
  expect([0.0421, 0.5, 36.62, 229, 1204].map(formatMilliseconds)).toEqual([
    '0.0421 ms',
    '0.500 ms',
    '36.6 ms',
    '229 ms',
    '1.20 s',
  ]);
  expect(formatPercent(0.97364)).toBe('97.36 %');
  expect([7.184, 12.34].map(formatSpeedup)).toEqual(['7.18x', '12.3x']);
  expect([-0.0028, 0.001, -0.00001].map(formatPoints)).toEqual(['−0.28', '+0.10', '0.00']);
});

describe('page', () => {
  it('tells the outcome, the stages, the files and the recipe', async () => {
    const document = await page(exampleReport());
    expect(texts(document, 'h1')).toEqual(['1.60x faster, 4.20x smaller, top-1 −0.08 points']);
    expect(texts(document, 'tbody tr:last-child td > span:first-child')).toEqual([
      '97.80 %',
      '340 k',
      '16.3 M',
      '402 kB',
      '0.500 ms',
      '1.60x',
      '92.0 MB',
    ]);
    expect(texts(document, 'h2')).toEqual([
      'Stage by stage',
      'Accuracy against latency',
      'Channels kept',
      'Finetuning',
      'Sample predictions',
      'Files',
      'Recipe',
      'Machine',
    ]);
    const shipped = document.querySelector('.badge')!.parentElement!;
    expect(shipped.querySelector('code')!.textContent).toBe('artifacts/model.onnx');
    expect(texts(document, 'dt')).toEqual(expect.arrayContaining(['prune.ratio', 'formats', 'processor']));
    expect(texts(document, 'dt')).not.toContain('prune.ignore');
    expect(texts(document, '.samples .wrong span')).toEqual(['61.0 %, is 7']);
  });

  it('holds each plot for a page and for a phone, with every stage and layer in it', async () => {
    const document = await page(exampleReport());
    const plots = [...document.querySelectorAll('figure svg')];
    expect(plots.map((plot) => Number(plot.getAttribute('width')))).toEqual([
      680, 340, 680, 340, 680, 340, 680, 340,
    ]);
    const [scatter, , bars] = plots;
    for (const name of ['dense', 'pruned, 11.20 % ↓', 'finetuned', 'int8']) {
      expect(scatter!.textContent).toContain(name);
    }
    expect(scatter!.querySelectorAll('circle')).toHaveLength(4);
    for (const text of ['blocks.0.mlp.fc1', '190 / 256', '48 / 64'])
      expect(bars!.textContent).toContain(text);
  });

  it('compares backends with the float32 model, where that was asked for', async () => {
    const report: Report = {
      ...exampleReport(),
      backends: [
        { dtype: 'fp16', top1: 0.9784, bytes: 700_000 },
        { dtype: 'int8', scheme: 'dynamic', backend: 'mlas', top1: 0.978, bytes: 402_000 },
        { dtype: 'int8', scheme: 'static', backend: 'qnnpack', top1: 0.42, bytes: 399_000 },
      ],
    };
    const document = await page(report);
    const section = [...document.querySelectorAll('section')].find((element) =>
      element.textContent!.includes('Backends compared'),
    )!;
    expect(
      [...section.querySelectorAll('tbody tr')].map((row) => [...row.children].map((c) => c.textContent)),
    ).toEqual([
      ['fp16', '97.84 %', '0.00', '700 kB'],
      ['int8 dynamic, mlas', '97.80 %', '−0.04', '402 kB'],
      ['int8 static, qnnpack', '42.00 %', '−55.84', '399 kB'],
    ]);
    const [wide] = section.querySelectorAll('svg');
    for (const name of ['fp32', 'fp16', 'dynamic, mlas', 'static, qnnpack', '42.00 %']) {
      expect(wide!.textContent).toContain(name);
    }
    const places = [...wide!.querySelectorAll('circle')].map((circle) => Number(circle.getAttribute('cx')));
    expect(places[0]).toBeGreaterThan(places[1]!);
    expect(places[1]).toBeGreaterThan(places[2]!);
    expect(texts(await page(exampleReport()), 'h2')).not.toContain('Backends compared');
  });

  it('asks the network for nothing and runs no script', async () => {
    const text = await reportHtml(exampleReport());
    expect(text).not.toMatch(/https?:|<script|<link|@import|url\(/);
    const policy = parseHTML(text).document.querySelector('meta[http-equiv="Content-Security-Policy"]');
    expect(policy?.getAttribute('content')).toMatch(/^default-src 'none'; /);
    const sources = [...parseHTML(text).document.querySelectorAll('[src]')].map(
      (e) => e.getAttribute('src')!,
    );
    expect(sources).toHaveLength(2);
    for (const source of sources) expect(source).toMatch(/^data:image\/png;base64,/);
  });

  it('leaves out what a run did not do', async () => {
    const report = exampleReport();
    const document = await page({
      ...report,
      stages: report.stages.slice(0, 1),
      artifacts: [],
      training: [],
      channels: undefined,
      samplesShown: undefined,
    });
    expect(texts(document, 'h2')).toEqual(['Stage by stage', 'Recipe', 'Machine']);
    expect(texts(document, 'h1')).toEqual(['tiny_vit, measured']);
  });

  it('says slower and larger when that is what came out', async () => {
    const report = exampleReport();
    const last = report.stages[3]!;
    last.latencyMs = { median: 1.6, p95: 2, runs: 50 };
    last.bytes = 3_380_000;
    expect(texts(await page(report), 'h1')).toEqual(['2.00x slower, 2.00x larger, top-1 −0.08 points']);
  });

  it('escapes names', async () => {
    const report = { ...exampleReport(), model: '<img src=x onerror="alert(1)">' };
    report.samplesShown![0]!.id = '"><script>';
    const document = await page(report);
    expect(texts(document, '.kicker')).toEqual([report.model]);
    expect(document.querySelectorAll('script, .kicker img')).toHaveLength(0);
  });
});

describe('markup', () => {
  it('escapes what is put in, keeps markup, joins lists, and drops what is absent', () => {
    const items = ['a', 'b'].map((item) => html`<i>${item}</i>`);
    expect(html`<p title="${'"&'}">${'<'}${items}${undefined}${false}${0}</p>`.text).toBe(
      '<p title="&quot;&amp;">&lt;<i>a</i><i>b</i>0</p>',
    );
  });
});

describe('plots', () => {
  const frame = { left: 50, right: 670, top: 20, bottom: 300 };

  it('places labels off each other and off the points, even when points crowd', () => {
    const points = ['dense', 'pruned', 'finetuned', 'int8'].map((text, i) => ({
      x: 640 - i * 9,
      y: 60 + (i % 2) * 7,
      text,
    }));
    const boxes = placeLabels(points, frame, 12).map((place, i) => labelBox(points[i]!, place, 12));
    boxes.forEach((box, i) => {
      expect(box.right).toBeLessThanOrEqual(frame.right);
      for (const other of boxes.slice(i + 1)) expect(overlaps(box, other)).toBe(false);
      points.forEach(({ x, y }, j) => {
        const dot = { left: x - 5, right: x + 5, top: y - 5, bottom: y + 5 };
        if (i !== j) expect(overlaps(box, dot)).toBe(false);
      });
    });
  });

  it('keeps a label off the line through the points where it can', () => {
    const points = [
      { x: 100, y: 150, text: 'left' },
      { x: 500, y: 150, text: 'right' },
    ];
    const [left] = placeLabels(points, frame, 12);
    expect(Math.abs(left!.dy)).toBeGreaterThan(0);
  });

  it('shows a range around the accuracies, without those that collapsed', () => {
    const [low, high] = accuracyDomain([81.8, 0.2, 81.2, 81]);
    expect(low).toBeGreaterThan(80);
    expect(high).toBeGreaterThan(81.8);
    expect(high).toBeLessThanOrEqual(100);
    expect(accuracyDomain([100, 99.9])[1]).toBe(100);
    expect(accuracyDomain([50, 0])[0]).toBe(0);
  });

  it('smooths and thins curves', () => {
    const points = Array.from({ length: 2000 }, (_, step) => ({ step, loss: step % 2, lr: 1 }));
    expect(runningMean(points)[1999]!.loss).toBeCloseTo(0.5, 12);
    expect(runningMean(points)[1]!.loss).toBe(0.5);
    const few = thinned(points);
    expect(few.length).toBe(500);
    expect([few[0], few.at(-1)]).toEqual([points[0], points[1999]]);
  });
});

describe('files', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'pqv-report-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('writes a report that reads back the same, unknown fields kept', async () => {
    const report = { ...exampleReport(), comparison: { backends: ['mlas'] } };
    const path = await writeReport(folder, report);
    expect(path).toBe(join(folder, 'report.html'));
    expect(readFileSync(path, 'utf8')).toContain('<span>ONNX Runtime builds for phones');
    expect(readReport(folder)).toEqual(report);
  });

  it('keeps the report of a model whose loss is no number', async () => {
    const report = exampleReport();
    report.stages[1]!.loss = Number.NaN;
    await writeReport(join(folder, 'nan'), report);
    expect(readReport(join(folder, 'nan')).stages.map(({ loss }) => loss)).toEqual([
      undefined,
      null,
      undefined,
      undefined,
    ]);
  });

  it.each([
    ['{', /report\.json is not JSON/],
    ['{"model": 3}', /report\.json is no report: model: /],
  ])('refuses %s', (content, message) => {
    const broken = mkdtempSync(join(folder, 'broken-'));
    writeFileSync(join(broken, 'report.json'), content);
    expect(() => readReport(broken)).toThrow(message);
    expect(() => readReport(broken)).toThrow(UserError);
  });

  it('says so when there is none', () => {
    expect(() => readReport(join(folder, 'absent'))).toThrow(/can't read .*report\.json: no such file/);
  });
});

describe('samples', () => {
  it('come once each with class names and a picture; tiny ones are enlarged pixel by pixel, large ones reduced', async () => {
    const sizes = [4, 300];
    const split = {
      name: 'squares',
      length: 2,
      label: () => 1,
      id: (i: number) => `square/${i}`,
      read: async (i: number) => {
        const edge = sizes[i]!;
        const data = new Uint8Array(edge * edge).fill(9);
        data[0] = 255;
        return { width: edge, height: edge, channels: 1 as const, data };
      },
    };
    const predictions = [1, 0, 1].map((i) => ({
      id: `square/${i}`,
      label: 1,
      predicted: 0,
      probability: 0.5,
    }));
    const samples = await reportSamples(predictions, split, ['cat', 'dog']);
    expect(samples).toHaveLength(2);
    const [large, tiny] = samples;
    expect(tiny).toMatchObject({ id: 'square/0', label: 'dog', predicted: 'cat', probability: 0.5 });
    const decode = (uri: string) => sharp(Buffer.from(uri.split(',')[1]!, 'base64'));
    expect(await decode(large!.thumbnail!).metadata()).toMatchObject({ width: 112, height: 112 });
    const { data, info } = await decode(tiny!.thumbnail!)
      .toColourspace('b-w')
      .raw()
      .toBuffer({ resolveWithObject: true });
    expect(info).toMatchObject({ width: 112, height: 112 });
    const row = Array.from({ length: 112 }, (_, x) => data[x * info.channels]);
    expect(row.map((grey) => grey === 255)).toEqual(row.map((_, x) => x < 28));
  });
});
