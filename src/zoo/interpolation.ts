/** For each new place along an axis, how much it takes of each old one: `to` rows of `from` numbers. */
export type Weights = (from: number, to: number) => number[][];

/** Weights of the neighbours of a place between pixels, by their offset from the pixel before it. */
type Kernel = (fraction: number) => readonly (readonly [offset: number, weight: number])[];

/** Where in an axis of `from` pixels the pixel `i` of `to` lies. */
type Place = (i: number, from: number, to: number) => number;

const middles: Place = (i, from, to) => ((i + 0.5) * from) / to - 0.5;

/** The first pixels in one place, and the last. */
const corners: Place = (i, from, to) => (to > 1 ? (i * (from - 1)) / (to - 1) : 0);

const linear: Kernel = (t) => [
  [0, 1 - t],
  [1, t],
];

/** Keys' cubic by the distance from a pixel. PyTorch has a = -0.5 where it smooths, -0.75 where it does not. */
function cubic(distance: number, a: number): number {
  const x = Math.abs(distance);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

const sharpCubic: Kernel = (t) => [-1, 0, 1, 2].map((offset) => [offset, cubic(t - offset, -0.75)] as const);

/** By the neighbours of a place; those beyond an edge are the edge. */
const between =
  (kernel: Kernel, placeOf: Place): Weights =>
  (from, to) =>
    Array.from({ length: to }, (_, i) => {
      const place = placeOf(i, from, to);
      const before = Math.floor(place);
      const row = Array<number>(from).fill(0);
      for (const [offset, weight] of kernel(place - before)) {
        row[Math.min(Math.max(before + offset, 0), from - 1)]! += weight;
      }
      return row;
    });

/** As Pillow: pixels beyond an edge do not count, and more are seen where an axis gets shorter. */
const smooth: Weights = (from, to) => {
  const ratio = from / to;
  const reach = Math.max(ratio, 1);
  return Array.from({ length: to }, (_, i) => {
    const center = ratio * (i + 0.5);
    const first = Math.max(Math.trunc(center - 2 * reach + 0.5), 0);
    const end = Math.min(Math.trunc(center + 2 * reach + 0.5), from);
    const row = Array.from({ length: from }, (_, j) =>
      j >= first && j < end ? cubic((j - center + 0.5) / reach, -0.5) : 0,
    );
    const sum = row.reduce((total, weight) => total + weight, 0);
    return row.map((weight) => weight / sum);
  });
};

/** PyTorch's `interpolate` along one axis, without `align_corners` but for `bilinearCorners`. */
export const interpolations = {
  bilinear: between(linear, (...at) => Math.max(middles(...at), 0)),
  bilinearCorners: between(linear, corners),
  bicubic: between(sharpCubic, middles),
  /** With `antialias=True`. */
  bicubicSmooth: smooth,
} satisfies Record<string, Weights>;

export type Interpolation = keyof typeof interpolations;
