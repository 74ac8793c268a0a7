/** Row after row. */
export interface Matrix {
  readonly columns: number;
  readonly data: Float64Array;
}

/**
 * `X` of `(A + penalty I) X = B` by Cholesky's decomposition, in float64.
 * @param a symmetric `[n, n]`, positive definite with the penalty
 * @param b `[n, m]`
 * @throws Error where it is not positive definite
 */
export function solvedSymmetric(a: Matrix, penalty: number, b: Matrix): Matrix {
  const n = a.columns;
  const m = b.columns;
  const lower = decomposed(a, penalty);
  const data = b.data.slice();
  const subtract = (row: number, other: number, factor: number) => {
    for (let j = 0; j < m; j++) data[row * m + j]! -= factor * data[other * m + j]!;
  };
  const divide = (row: number) => {
    for (let j = 0; j < m; j++) data[row * m + j]! /= lower[row * n + row]!;
  };
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) subtract(i, k, lower[i * n + k]!);
    divide(i);
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) subtract(i, k, lower[k * n + i]!);
    divide(i);
  }
  return { columns: m, data };
}

/** The lower triangle L of `A + penalty I = L L^T`. */
function decomposed({ columns: n, data }: Matrix, penalty: number): Float64Array {
  const lower = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = data[i * n + j]! + (i === j ? penalty : 0);
      for (let k = 0; k < j; k++) sum -= lower[i * n + k]! * lower[j * n + k]!;
      if (i !== j) lower[i * n + j] = sum / lower[j * n + j]!;
      else if (sum > 0) lower[i * n + i] = Math.sqrt(sum);
      else throw new Error(`the matrix is not positive definite at ${i}`);
    }
  }
  return lower;
}
