/**
 * A browser gives an origin six connections over HTTP/1.1, and the seventh request of any tab waits, POSTs too.
 *
 * So at most four tabs read live; every other visible one catches up in turns of its own, one at a time, which leaves
 * one connection for everything else. Without Web Locks (plain http on a foreign host) every tab reads live.
 */

const LIVE_TABS = 4;
const liveLock = (number) => `jarvis-live-${number}`;
const TURN_LOCK = "jarvis-catch-up";

/**
 * Runs `work(live, signal)` while holding a place; "lost" if another tab took it. `live`: it may keep its connection for as long as it likes; else it
 * should catch up and return. With `claim`, another tab's place is taken if all are: that tab's signal aborts.
 */
export async function withConnection({ signal, claim, work }) {
  const { locks } = navigator;
  if (!locks) return work(true, signal);
  const numbers = Array.from({ length: LIVE_TABS }, (_, number) => number);
  for (const number of numbers) {
    const result = await held(liveLock(number), { ifAvailable: true }, signal, (inner) => work(true, inner));
    if (result !== "taken") return result;
  }
  if (claim) {
    const number = Math.floor(Math.random() * LIVE_TABS);
    return held(liveLock(number), { steal: true }, signal, (inner) => work(true, inner));
  }
  return held(TURN_LOCK, { signal }, signal, (inner) => work(false, inner));
}

/** "done", "taken" (only with `ifAvailable`) or "lost"; throws what `work` throws. */
async function held(name, options, signal, work) {
  const lost = new AbortController();
  let running = null;
  try {
    return await navigator.locks.request(name, options, async (lock) => {
      if (!lock) return "taken";
      running = work(AbortSignal.any([signal, lost.signal]));
      await running;
      return "done";
    });
  } catch (error) {
    if (error.name !== "AbortError" || signal.aborted) throw error;
    lost.abort(); // the lock was stolen, which the callback does not notice
    await running?.catch(() => {});
    return "lost";
  }
}
