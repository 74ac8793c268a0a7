import { createRequire } from 'node:module';
import { litertChild } from './latency-child-litert.ts';
import { pytorchChild } from './latency-child-pytorch.ts';
import { findPython } from './python.node.ts';
import type { Runtime } from './runtime.ts';

/** ONNX Runtime, in a process of Node's. */
export const onnxruntimeFiles: Runtime = {
  name: 'ort',
  command: () => ({
    file: process.execPath,
    args: [createRequire(import.meta.url).resolve('#latency-child')],
  }),
};

/** PyTorch, where there is a Python that has it. */
export const pytorchFiles: Runtime = {
  name: 'pytorch',
  engines: ['x86', 'fbgemm', 'onednn', 'qnnpack'],
  command: () => ({ file: findPython('torch'), args: ['-c', pytorchChild] }),
};

/** LiteRT, where there is a Python that has its interpreter: that of `PQV_TFLITE_PYTHON`, else any with tensorflow. */
export const litertFiles: Runtime = {
  name: 'litert',
  command: () => ({
    file: process.env.PQV_TFLITE_PYTHON || findPython('tensorflow'),
    args: ['-c', litertChild],
  }),
};
