import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { beforeEach, describe, expect, it } from 'vitest';
import { scratch } from '../../../test/command.ts';
import { tinyVariant } from '../../../test/lab-variant.ts';
import { silent } from '../../common/progress.ts';
import { exportModelFile } from '../../export/export-file.node.ts';
import { readReport, writeReport } from '../../report/files.node.ts';
import { onnxruntime } from '../../runtime/onnxruntime.node.ts';
import { loadModel } from '../../zoo/load.node.ts';
import { nativeLab } from '../lab.node.ts';
import type { Variant } from '../variant.ts';
import { androidDevice, quoted } from './adb.node.ts';
import { measureNatively, type NativeRun } from './measure.node.ts';

const at = scratch();
const program = at('adb');

/** A device that is a folder of this machine, `data` its /data/local/tmp; what it is told runs in this machine's shell. */
const adb = `#!/bin/sh
here=$(dirname "$0")
echo "$*" >> "$here/log"
if [ "$1" = -s ]; then serial=$2; shift 2; fi
on_device() { printf %s "$1" | sed "s#/data/local/tmp#$here/data#g"; }
if [ "$1" != devices ] && [ -e "$here/gone" ]; then echo "error: device '$serial' not found" >&2; exit 1; fi
case $1 in
  devices) cat "$here/devices" ;;
  get-state) echo device ;;
  push) cp "$2" "$(on_device "$3")" || exit 1; echo "$2: 1 file pushed." ;;
  pull) cp "$(on_device "$2")" "$3" 2> /dev/null || { echo "adb: error: failed to stat remote object" >&2; exit 1; } ;;
  shell) shift; PATH="$here/bin:$PATH" HERE="$here" sh -c "$(on_device "$*")" ;;
esac
`;

const getprop = `#!/bin/sh
case $1 in
  ro.product.manufacturer) echo Google ;;
  ro.product.model) echo "Pixel 8; rm -rf /" ;;
  ro.build.version.release) echo 14 ;;
  ro.soc.model) echo "Tensor G3" ;;
esac
`;

const litert = `#!/bin/sh
for word; do
  case $word in
    --graph=*) test -s "\${word#--graph=}" || { echo "ERROR: no model"; exit 1; } ;;
    --input_layer_value_files=image:*) test -s "\${word#*:}" || { echo "FATAL: no input"; exit 1; } ;;
    --output_filepath=*) cp "$HERE/outputs" "\${word#*=}" ;;
    --num_threads=*) threads=\${word#*=} ;;
  esac
done
echo "STARTING!"
echo "count=15 first=90 curr=80 min=70 max=90 avg=75 std=5 p5=70 median=75 p95=90"
echo
echo "count=50 first=60 curr=50 min=40 max=70 avg=55 std=5 p5=41 median=$((48 / threads))000 p95=66000"
echo
echo "Inference timings in us: Init: 1000, First inference: 90, Warmup (avg): 75, Inference (avg): 55"
`;

const perf = `#!/bin/sh
echo "Session creation time cost: 0.25 s"
echo "Total inference requests: 50"
echo "Average inference time cost: 21 ms"
echo "P50 Latency: 0.02 s"
echo "P95 Latency: 0.03 s"
`;

function script(name: string, text: string): void {
  writeFileSync(at(name), text);
  chmodSync(at(name), 0o755);
}

const outputs = (...values: number[]) =>
  writeFileSync(at('outputs'), new Uint8Array(Float32Array.from(values).buffer));

beforeEach(() => {
  for (const name of ['data', 'bin', 'gone', 'log']) rmSync(at(name), { recursive: true, force: true });
  mkdirSync(at('data'));
  mkdirSync(at('bin'));
  script('adb', adb);
  script('bin/getprop', getprop);
  script('bin/nproc', '#!/bin/sh\necho 8\n');
  writeFileSync(at('devices'), 'List of devices attached\n8A2X\tdevice\n\n');
  writeFileSync(at('m.tflite'), 'model');
  outputs(1, 2, 2);
});

const variant = (format: 'onnx' | 'tflite', name = 'int8'): Variant =>
  tinyVariant({
    ...{ id: name, path: at('m.tflite'), format, precision: 'int8', file: `${name}/m.${format}` },
    input: {
      name: 'x',
      dtype: 'float32',
      shape: [1, 2, 2, 1],
      layout: 'NHWC',
      size: [1, 2, 2],
      scale: [1],
      offset: [0],
    },
    samples: [{ width: 1, height: 1, channels: 1, pixels: 'AA==' }],
    expectation: { samples: [{ values: [1, 2, 2] }], tolerance: 0.01, from: 'test' },
  });

const run = (more: Partial<NativeRun> = {}): NativeRun => ({
  ...{ programs: {}, runs: 50, warmup: 15, seconds: 20, progress: silent },
  signal: new AbortController().signal,
  cell() {},
  ...more,
});

const phone = () => androidDevice(undefined, { program }, {});
const commands = () => readFileSync(at('log'), 'utf8');

describe('measureNatively', () => {
  it('pushes, checks, times on one thread and on four, and takes all away again', async () => {
    script('data/benchmark_model', litert);
    const { device, leftOut } = await measureNatively(
      await phone(),
      [variant('tflite'), variant('onnx')],
      run(),
    );
    expect(device).toMatchObject({
      name: 'Google Pixel 8; rm -rf /, Android 14',
      userAgent: 'Android 14, Tensor G3, by adb',
      cores: 8,
    });
    expect(device.cells).toMatchObject([
      {
        how: 'LiteRT, native, 1 thread',
        latencyMs: { median: 48, p95: 66, runs: 50 },
        right: true,
        error: 0,
      },
      { how: 'LiteRT, native, 4 threads', latencyMs: { median: 12 }, threads: 4, right: true },
    ]);
    expect(leftOut).toEqual([
      expect.stringMatching(/^1 \.onnx file: the device has no .*onnxruntime_perf_test, and --adb-perf-test/),
    ]);
    expect(readdirSync(at('data'))).toEqual(['benchmark_model']);
    expect(commands()).toMatch(/'--input_layer_shape=1,2,2,1'/);
  });

  it('tells wrong outputs from fast ones, and does not check what writes none', async () => {
    script('data/benchmark_model', litert);
    outputs(1, 2, 3);
    const wrong = await measureNatively(await phone(), [variant('tflite')], run());
    expect(wrong.device.cells[0]).toMatchObject({ right: false, error: expect.closeTo(1 / 3) });
    script('data/benchmark_model', litert.replace('--output_filepath=*', '--no-such-option'));
    const old = await measureNatively(await phone(), [variant('tflite')], run());
    expect(old.device.cells[0]).toMatchObject({ right: null, latencyMs: { median: 48 } });
  });

  it('takes a program of this machine along, and removes that too', async () => {
    script('perf', perf);
    const programs = { '--adb-perf-test': at('perf') };
    const { device } = await measureNatively(await phone(), [variant('onnx')], run({ programs }));
    expect(device.cells).toMatchObject([{ latencyMs: { median: 20, p95: 30 }, right: null }, { threads: 4 }]);
    expect(readdirSync(at('data'))).toEqual([]);
    const missing = run({ programs: { '--adb-perf-test': at('nowhere') } });
    await expect(measureNatively(await phone(), [variant('onnx')], missing)).rejects.toThrow(
      /--adb-perf-test .*nowhere: no such file/,
    );
    expect(readdirSync(at('data'))).toEqual([]);
  });

  it('has a file fail whose tool ends badly, says nothing, or does not end, and goes on', async () => {
    script('data/onnxruntime_perf_test', '#!/bin/sh\necho "Load model failed"\nexit 3\n');
    script('data/benchmark_model', '#!/bin/sh\necho "a new version speaks otherwise"\n');
    const files = [variant('onnx'), variant('tflite')];
    const failed = (cells: { failed?: string | undefined }[]) => cells.map((cell) => cell.failed);
    const { device } = await measureNatively(await phone(), files, run());
    expect(failed(device.cells)).toEqual([
      ...Array(2).fill('onnxruntime_perf_test ends with 3: Load model failed'),
      ...Array(2).fill('benchmark_model tells no times that can be read: a new version speaks otherwise'),
    ]);
    script('data/onnxruntime_perf_test', '#!/bin/sh\nsleep 3\n');
    const slow = await measureNatively(await phone(), [variant('onnx')], run({ seconds: 0, patience: 200 }));
    expect(failed(slow.device.cells)).toEqual(Array(2).fill('no answer within 0 s: left out'));
    expect(readdirSync(at('data'))).toEqual(['benchmark_model', 'onnxruntime_perf_test']);
  });

  it('keeps what was measured when the device goes away', async () => {
    script('data/benchmark_model', litert);
    script('data/onnxruntime_perf_test', '#!/bin/sh\ntouch "$HERE/gone"\nkill -9 $PPID\n');
    const files = [variant('tflite'), variant('onnx', 'dense')];
    const notes: string[] = [];
    const progress = { ...silent, note: (text: string) => void notes.push(text) };
    const { device, leftOut } = await measureNatively(await phone(), files, run({ progress }));
    expect(device.cells).toHaveLength(2);
    expect(leftOut).toEqual([expect.stringMatching(/went away/)]);
    expect(notes).toEqual([expect.stringMatching(/^\/data\/local\/tmp\/pqv-\w+ may still be on Google/)]);
    rmSync(at('gone'));
    await expect(measureNatively(await phone(), files.slice(1), run())).rejects.toThrow(
      /went away before anything was measured/,
    );
  });

  it('says what it needs where there is nothing to measure with', async () => {
    await expect(measureNatively(await phone(), [variant('tflite')], run())).rejects.toThrow(
      /^1 \.tflite file: the device has no \/data\/local\/tmp\/benchmark_model, and --adb-benchmark-model names none$/,
    );
  });

  it('ends at once when it is told to, and cleans up', async () => {
    script('data/benchmark_model', litert);
    const controller = new AbortController();
    const cell = () => controller.abort();
    const device = await androidDevice(undefined, { program, signal: controller.signal }, {});
    const result = await measureNatively(
      device,
      [variant('tflite')],
      run({ signal: controller.signal, cell }),
    );
    expect(result.device.cells).toHaveLength(1);
    expect(readdirSync(at('data'))).toEqual(['benchmark_model']);
  });
});

describe('androidDevice', () => {
  const connected = (...lines: string[]) =>
    writeFileSync(
      at('devices'),
      `* daemon not running; starting now at tcp:5037\n* daemon started successfully\nList of devices attached\n${lines.join('\n')}\n\n`,
    );

  it.each([
    [[], undefined, /^no Android device is connected: plug one in/],
    [['8A2X\tunauthorized'], undefined, /8A2X is unauthorized: unlock it, and allow debugging/],
    [['8A2X\toffline'], undefined, /8A2X is offline: plug it in anew/],
    [
      ['8A2X\tno permissions (udev rules missing); see [http://d.android.com]'],
      undefined,
      /8A2X is no permissions .*see "adb devices"/,
    ],
    [
      ['8A2X\tdevice', 'emulator-5554\tdevice'],
      undefined,
      /^several Android devices: 8A2X \(device\), emulator-5554 \(device\); say which with --adb-serial$/,
    ],
    [['8A2X\tdevice'], 'B', /^no Android device B; connected: 8A2X \(device\)$/],
  ])('refuses %j, asked for %s', async (lines, serial, message) => {
    connected(...lines);
    await expect(androidDevice(serial, { program }, {})).rejects.toThrow(message);
  });

  it('takes the one that is ready, or the one that is named', async () => {
    connected('8A2X\tunauthorized', '192.168.1.5:5555\tdevice');
    expect((await androidDevice(undefined, { program }, {})).serial).toBe('192.168.1.5:5555');
    connected('8A2X\tdevice', 'emulator-5554\tdevice');
    expect((await androidDevice('emulator-5554', { program }, {})).serial).toBe('emulator-5554');
    expect((await androidDevice(undefined, { program }, { ANDROID_SERIAL: '8A2X' })).serial).toBe('8A2X');
  });

  it('says that there is no adb', async () => {
    await expect(androidDevice(undefined, { program: at('no-adb') }, {})).rejects.toThrow(
      /no-adb is not there: --adb needs the adb of Android's platform-tools/,
    );
  });

  it('hands words to the device as they are', async () => {
    const words = [`it's`, '$(touch escaped)', '`touch escaped`', 'a b', '"', '', '; exit 7', '\\n', '*'];
    const { code, output } = await (await phone()).shell(['printf', '<%s>', ...words], 10_000);
    expect([code, output]).toEqual([0, words.map((word) => `<${word}>`).join('')]);
    expect(quoted(`a'b`)).toBe(`'a'\\''b'`);
    expect(existsSync('escaped')).toBe(false);
  });
});

it('makes the device a column of the report of a run', async () => {
  script('data/onnxruntime_perf_test', perf);
  mkdirSync(at('run', 'dense'), { recursive: true });
  const file = 'dense/deploy.onnx';
  await exportModelFile(onnxruntime, await loadModel('examples/mnist_vit'), 'onnx', at('run', file));
  await writeReport(at('run'), {
    model: 'mnist',
    recipe: {},
    machine: { cpu: 'x', threads: 1, engine: 'onnxruntime' },
    stages: [{ stage: 'dense', precision: 'fp32', parameters: 1, macs: 1, bytes: 1, file }],
    artifacts: [],
  });
  const path = process.env.PATH;
  process.env.PATH = `${at()}:${path}`;
  try {
    const heard: string[] = [];
    const { programs, runs, warmup, seconds, progress, signal } = run();
    const result = await nativeLab([at('run')], {
      ...{ programs, runs, warmup, seconds, progress, signal, serial: '8A2X', tflite: false },
      cell: (device, title) => void heard.push(`${device}: ${title}`),
    });
    expect(heard).toEqual(Array(2).fill('Google Pixel 8; rm -rf /, Android 14: dense'));
    expect(result.reports).toEqual([at('run', 'report.html')]);
  } finally {
    process.env.PATH = path;
  }
  const [device] = readReport(at('run')).devices!;
  expect(device).toMatchObject({
    name: 'Google Pixel 8; rm -rf /, Android 14',
    cells: [{ file, name: 'dense', latencyMs: { median: 20 } }, { how: 'ONNX Runtime, native, 4 threads' }],
  });
  expect(readFileSync(at('run', 'report.html'), 'utf8')).toContain('Google Pixel 8; rm -rf /, Android 14');
});
