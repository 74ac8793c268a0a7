import * as z from 'zod';

/** What trains, and how the processes of `torchrun` are started. */
export const torchrunOptions = z.strictObject({
  engine: z.enum(['ort', 'torchrun']).default('ort').meta({
    description:
      'what trains: ort: ONNX Runtime, here; torchrun: PyTorch in as many processes as are started, on GPUs where there are some',
    value: 'name',
  }),
  nprocPerNode: z.number().int().min(1).default(1).meta({
    description: 'processes of torchrun on a machine: one a GPU',
    value: 'n',
  }),
  nnodes: z.number().int().min(1).default(1).meta({
    description: 'machines of torchrun, which see the output folder under the same path',
    value: 'n',
  }),
  engineArgs: z.string().default('').meta({
    description:
      'further arguments of torchrun, as one text: "--rdzv-backend c10d --rdzv-endpoint host:29500"',
    value: 'text',
  }),
  amp: z.enum(['auto', 'bf16', 'fp16', 'off']).default('auto').meta({
    description:
      'what PyTorch computes products in: bf16 or fp16 on a GPU that can (auto), or always float32 (off)',
    value: 'how',
  }),
});

export type TorchrunOptions = z.output<typeof torchrunOptions>;
