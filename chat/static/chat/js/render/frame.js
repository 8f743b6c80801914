/** The next moment to paint. A tab that is not in front has few frames or none; it paints too, only less often. */

const WITHOUT_FRAMES_MS = 100;

/** Calls `work` once, with the next frame or soon; returns what cancels it. */
export function onNextFrame(work) {
  const cancel = () => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
  };
  const once = () => {
    cancel();
    work();
  };
  const frame = requestAnimationFrame(once);
  const timer = setTimeout(once, WITHOUT_FRAMES_MS);
  return cancel;
}
