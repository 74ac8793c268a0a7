/**
 * {@link "pqv-mobile"} with what a browser adds: models from addresses and chosen files, and ONNX Runtime
 * Web as the engine.
 * @module pqv-mobile/web
 */
export * from './index.ts';
export { onnxruntimeWeb } from './runtime/onnxruntime-web.ts';
export { loadModel, type WebLoadOptions, type WebModelSource } from './zoo/load.web.ts';
