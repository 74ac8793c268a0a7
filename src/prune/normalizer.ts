type Normalizer = (scores: Float64Array) => Float64Array;

/** Against a division by zero, as in Torch-Pruning. */
const epsilon = 1e-8;

const total = (scores: Float64Array): number => scores.reduce((sum, score) => sum + score, 0);
const mean = (scores: Float64Array): number => total(scores) / scores.length;
const over = (scores: Float64Array, by: number): Float64Array =>
  by > 0 ? scores.map((score) => score / by) : scores;

/** How scores of one group become comparable with those of others, by Torch-Pruning's names. */
export const normalizers = {
  none: (scores) => scores,
  mean: (scores) => over(scores, mean(scores)),
  sum: (scores) => over(scores, total(scores)),
  max: (scores) => over(scores, Math.max(...scores)),
  gaussian(scores) {
    const middle = mean(scores);
    const squares = scores.reduce((sum, score) => sum + (score - middle) ** 2, 0);
    const deviation = Math.sqrt(squares / Math.max(1, scores.length - 1));
    return scores.map((score) => (score - middle) / (deviation + epsilon));
  },
  standarization(scores) {
    const least = Math.min(...scores);
    const range = Math.max(...scores) - least;
    return scores.map((score) => (score - least) / (range + epsilon));
  },
  lamp: layerAdaptive,
} as const satisfies Record<string, Normalizer>;

export type NormalizerName = keyof typeof normalizers;

/** Over the sum of what is no less ("Layer-adaptive Sparsity for the Magnitude-based Pruning", ICLR 2021). */
function layerAdaptive(scores: Float64Array): Float64Array {
  const found = new Float64Array(scores.length);
  let rest = 0;
  for (const i of [...scores.keys()].sort((a, b) => scores[b]! - scores[a]! || b - a)) {
    rest += scores[i]!;
    found[i] = rest > 0 ? scores[i]! / rest : 0;
  }
  return found;
}
