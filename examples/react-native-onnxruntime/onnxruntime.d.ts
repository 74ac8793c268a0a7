/** onnxruntime-react-native 1.24 gives what onnxruntime-common does: the example is type-checked without React Native. */
declare module 'onnxruntime-react-native' {
  export * from 'onnxruntime-common';
}
