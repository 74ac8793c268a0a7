import { describe, expect, it } from 'vitest';
import { tools } from './tools.ts';

const [benchmarkModel, perfTest] = tools as [(typeof tools)[number], (typeof tools)[number]];

const before = `STARTING!
Log parameter values verbosely: [0]
Num threads: [4]
Graph: [/data/local/tmp/pqv-0/m0.tflite]
Use xnnpack: [1]
Loaded model /data/local/tmp/pqv-0/m0.tflite
`;

describe("LiteRT's benchmark_model", () => {
  it('reads the timed runs, not those before, and whether XNNPACK took all', () => {
    const output = `${before}INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
VERBOSE: Replacing 421 out of 421 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1 partitions for subgraph 0.
The input model file size (MB): 6.2
Initialized session in 31.25ms.
Running benchmark for at least 15 iterations and at least 0 seconds but terminate if exceeding 20 seconds.
count=15 first=40500 curr=21000 min=20100 max=40500 avg=22000.5 std=5000 p5=20100 median=21050 p95=40500

Running benchmark for at least 50 iterations and at least 0 seconds but terminate if exceeding 20 seconds.
count=50 first=18100 curr=18300 min=18000 max=19900 avg=18420.2 std=310 p5=18050 median=18390 p95=19250

Inference timings in us: Init: 31250, First inference: 40500, Warmup (avg): 22000.5, Inference (avg): 18420.2
Memory footprint delta from the start of the tool (MB): init=12.5 overall=19.25
`;
    expect(benchmarkModel.read(output)).toEqual({
      latencyMs: { median: 18.39, p95: 19.25, runs: 50 },
      firstMs: 40.5,
      loadMs: 31.25,
      warmup: 15,
      delegated: true,
    });
  });

  it('takes the mean of builds that tell no median, and says so', () => {
    const output = `${before}Explicitly applied XNNPACK delegate, and the model graph will be partially executed by the delegate w/ 3 delegate kernels.
count=1 curr=5.1e+06

count=20 first=1.2e+06 curr=1100000 min=1090000 max=1200000 avg=1.11e+06 std=2000

Inference timings in us: Init: 9.9e+05, First inference: 5100000, Warmup (avg): 5.1e+06, Inference (avg): 1.11e+06
`;
    expect(benchmarkModel.read(output)).toEqual({
      latencyMs: { median: 1110, runs: 20 },
      averaged: true,
      firstMs: 5100,
      loadMs: 990,
      warmup: 1,
      delegated: false,
    });
    const same = benchmarkModel.read('count=3 curr=7(all same)\ncount=4 curr=9(all same)\n');
    expect(same).toMatchObject({ latencyMs: { median: 0.009, p95: 0.009, runs: 4 }, warmup: 3 });
  });

  it('reads nothing out of what is no result', () => {
    for (const output of [
      '',
      before,
      `${before}ERROR: Failed to load model\nBenchmarking failed.\n`,
      'count=15 first=1 curr=1 min=1 max=2 avg=1 std=0\n',
      'count=1 curr=1\ncount=0\n',
      'count=1 curr=1\ncount=5 first=x curr=y avg=nan std=nan\n',
    ])
      expect(benchmarkModel.read(output)).toBeUndefined();
  });
});

describe('onnxruntime_perf_test', () => {
  it('reads its percentiles, in seconds', () => {
    const output = `Setting intra_op_num_threads to 4
Session creation time cost: 0.25 s
First inference time cost: 61 ms
Total inference time cost: 1.05 s
Total inference requests: 50
Average inference time cost total: 21.000000 ms
Total inference run time: 1.0502 s
Number of inferences per second: 47.6
Avg CPU usage: 98 %
Peak working set size: 61054976 bytes
Avg CPU usage:98
Peak working set size:61054976
Runs:50
Min Latency: 0.0202 s
Max Latency: 0.0241 s
P50 Latency: 0.0208 s
P90 Latency: 0.0219 s
P95 Latency: 0.0225 s
P99 Latency: 0.0241 s
P999 Latency: 0.0241 s
`;
    const { latencyMs, ...others } = perfTest.read(output)!;
    expect(latencyMs!.median).toBeCloseTo(20.8);
    expect(latencyMs!.p95).toBeCloseTo(22.5);
    expect(latencyMs!.runs).toBe(50);
    expect(others).toEqual({ firstMs: 61, loadMs: 250, warmup: 1 });
  });

  it("reads old builds' words", () => {
    const mean = 'Total time cost:5.88\nTotal iterations:100\nAverage time cost:58.8 ms\n';
    expect(perfTest.read(mean)).toEqual({
      latencyMs: { median: 58.8, runs: 100 },
      averaged: true,
      warmup: 1,
    });
    const { latencyMs, averaged } = perfTest.read(
      `${mean}P50 Latency is 0.0587sec\nP95 Latency is 0.0605sec\n`,
    )!;
    expect([latencyMs!.median, latencyMs!.p95]).toEqual([expect.closeTo(58.7), expect.closeTo(60.5)]);
    expect(averaged).toBeUndefined();
    expect(perfTest.read('Segmentation fault\n')).toBeUndefined();
  });
});
