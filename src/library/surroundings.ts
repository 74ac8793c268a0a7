import type { Progress } from '../common/progress.ts';

/** What every stage can be told beside its own options. */
export interface Surroundings {
  /** Threads of the engine; default: as many as it takes by itself. */
  threads?: number;
  /** Of everything random; default 0. The same seed gives the same result. */
  seed?: number;
  /** Who is told how far the work is; default: nobody. */
  progress?: Progress;
}
