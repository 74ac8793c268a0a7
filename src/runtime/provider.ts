/** What ONNX Runtime computes on, where its build has it. */
export const providers = ['cpu', 'webgpu', 'cuda', 'tensorrt', 'dml', 'coreml'] as const;
export type Provider = (typeof providers)[number];
