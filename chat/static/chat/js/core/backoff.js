/** How long to wait before another try. Pure. */

const FIRST_MS = 500;
const LONGEST_MS = 15_000;

/** Milliseconds before try number `attempt` (0, 1, 2 …): doubled each time, bounded, with half of it left to chance. */
export function backoffMs(attempt, random = Math.random()) {
  const full = Math.min(FIRST_MS * 2 ** attempt, LONGEST_MS);
  return full / 2 + (full / 2) * random;
}
