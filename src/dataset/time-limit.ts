/**
 * What an attempt with a time limit of its own gives. One that fails once its time is over is made a second time: time passes as well while a
 * process is stopped, or a computer asleep, which is not the fault of what it was at.
 * @param seconds the limit that the attempt keeps to
 * @throws what the attempt throws in time; Error when both take too long
 */
export async function withinTime<T>(seconds: number, attempt: () => Promise<T>): Promise<T> {
  for (let left = 1; ; left--) {
    const start = performance.now();
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() - start < 1000 * seconds) throw error;
      if (left === 0) throw new Error(`it takes longer than ${seconds} s`);
    }
  }
}
