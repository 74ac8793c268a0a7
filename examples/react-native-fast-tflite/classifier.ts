/**
 * A `.tflite` file in React Native by react-native-fast-tflite 3, which tests itself before it answers.
 *
 *     pqv export MODEL --format tflite -o assets/model.tflite      # and assets/model.tflite.json
 *
 * metro.config.js must have `tflite` among its asset extensions. In a component:
 *
 *     const classifier = await openClassifier(require('./assets/model.tflite'), require('./assets/model.tflite.json'));
 *     const best = await classifier({ width, height, channels: 4, data });   // RGBA of a photo or a camera's frame, upright
 *     <FlatList data={best} renderItem={({ item }) => <Text>{item.name} {item.score.toFixed(2)}</Text>} />
 */
import { loadTensorflowModel } from 'react-native-fast-tflite';
import { type Card, fitted, goldenPixels, isGolden, type Pixels, toInput, topFive } from '../app-card.ts';

export type Classifier = (image: Pixels) => Promise<{ name: string; score: number }[]>;

/** @throws when the golden sample comes out wrong */
export async function openClassifier(asset: number, card: Card): Promise<Classifier> {
  const model = await loadTensorflowModel(asset, []);
  const scores = async (image: Pixels) => {
    const [output] = await model.run([toInput(card, image).buffer as ArrayBuffer]);
    return new Float32Array(output!);
  };
  if (!isGolden(card, await scores(goldenPixels(card)))) throw new Error('the golden sample comes out wrong');
  return async (image) => topFive(card, await scores(fitted(card, image)));
}
