/**
 * An `.onnx` file in React Native by onnxruntime-react-native, which tests itself before it answers.
 *
 *     pqv export MODEL --format onnx -o assets/model.onnx      # and assets/model.onnx.json
 *
 * `path` is where the file is on the device (expo-asset's `localUri`, or a download). In a component:
 *
 *     const classifier = await openClassifier(path, require('./assets/model.onnx.json'));
 *     const best = await classifier({ width, height, channels: 4, data });   // RGBA of a photo or a camera's frame, upright
 *     <FlatList data={best} renderItem={({ item }) => <Text>{item.name} {item.score.toFixed(2)}</Text>} />
 */
import { InferenceSession, Tensor } from 'onnxruntime-react-native';
import { type Card, fitted, goldenPixels, isGolden, type Pixels, toInput, topFive } from '../app-card.ts';

export type Classifier = (image: Pixels) => Promise<{ name: string; score: number }[]>;

/** @throws when the golden sample comes out wrong */
export async function openClassifier(path: string, card: Card): Promise<Classifier> {
  const session = await InferenceSession.create(path);
  const [{ name, shape }] = card.inputs as [Card['inputs'][number]];
  const one = shape.map((length) => (typeof length === 'number' ? length : 1));
  const scores = async (image: Pixels) => {
    const values = toInput(card, image);
    const input =
      values instanceof Uint8Array ? new Tensor('uint8', values, one) : new Tensor('float32', values, one);
    const found = await session.run({ [name]: input });
    return found[card.outputs[0]!.name]!.data as Float32Array;
  };
  if (!isGolden(card, await scores(goldenPixels(card)))) throw new Error('the golden sample comes out wrong');
  return async (image) => topFive(card, await scores(fitted(card, image)));
}
