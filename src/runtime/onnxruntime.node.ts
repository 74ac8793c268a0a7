import { availableParallelism } from 'node:os';
import * as ort from 'onnxruntime-node';
import { ortEngine } from './onnxruntime.ts';

/** ONNX Runtime on the CPU, through onnxruntime-node. */
export const onnxruntime = ortEngine(
  ort,
  `onnxruntime ${ort.env.versions.node ?? ort.env.versions.common}`,
  'cpu',
  availableParallelism(),
);
