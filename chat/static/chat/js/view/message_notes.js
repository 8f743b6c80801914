/** What is said below an answer about its state. Pure. */

const ENDS = {
  completed: null,
  length: "This answer reached the longest length allowed.",
  stopped: "Stopped.",
  interrupted: "Interrupted by a newer prompt.",
  disconnected: "Stopped: who had asked went away.",
  shutdown: "The server was shut down in the middle of this answer.",
  provider_unavailable: "The model cannot be reached.",
  provider_timeout: "The model took too long.",
  provider_error: "The model failed in the middle of its answer.",
  worker_lost: "The server process that wrote this answer was lost.",
  storage_error: "The answer could not be stored.",
};
const WORTH_ANOTHER_TRY = new Set(["shutdown", "stopped"]);

/** `{text, retry}` for an answer that has ended, or null if there is nothing to say. */
export function endNote({ state, reason, error, text }) {
  const known = ENDS[reason] === undefined ? ENDS[state] : ENDS[reason];
  if (state === "failed") {
    return { text: error?.message || known || "Something went wrong.", retry: error?.retryable ?? true };
  }
  if (known) return { text: known, retry: WORTH_ANOTHER_TRY.has(reason) };
  return text ? null : { text: "The model answered with nothing.", retry: true };
}

/** `{text}` for an answer that is still to come, or null while its text speaks for itself. */
export function waitingNote({ state, text, position }) {
  if (state === "stopping") return { text: "Stopping…" };
  if (state === "queued") return { text: position > 1 ? `Waiting for ${position} answers before it…` : "Waiting for its turn…" };
  return text ? null : { text: "Thinking…" };
}
