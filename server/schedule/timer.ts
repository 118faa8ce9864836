/** What wakes the schedule; tests bring one that they drive by hand. */
export interface Timer {
  /** Runs something once, after so many milliseconds; returns what takes that back. */
  after(milliseconds: number, run: () => void): () => void;
}

/** Longest wait that `setTimeout` knows (2^31 milliseconds); a longer one would end at once. */
const longestMilliseconds = 2 ** 31 - 1;

export const systemTimer: Timer = {
  after(milliseconds, run) {
    const timer = setTimeout(run, Math.min(milliseconds, longestMilliseconds));
    // A timer alone must not keep a process alive that wants to end.
    timer.unref();
    return () => clearTimeout(timer);
  },
};
