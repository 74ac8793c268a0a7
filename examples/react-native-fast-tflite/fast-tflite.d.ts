/** What is used of react-native-fast-tflite 3.0, so that the example is type-checked without React Native. */
declare module 'react-native-fast-tflite' {
  export interface TfliteModel {
    run(input: ArrayBuffer[]): Promise<ArrayBuffer[]>;
  }
  export function loadTensorflowModel(
    source: number | { url: string },
    delegates: ('metal' | 'core-ml' | 'nnapi' | 'android-gpu')[],
  ): Promise<TfliteModel>;
}
