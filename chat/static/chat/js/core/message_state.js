/**
 * The states of a message and what may follow what, as a table. Pure.
 *
 * `sending` and `stopping` are the page's own: the server has not confirmed yet. All others are the server's.
 */

const ENDS = ["completed", "stopped", "interrupted", "failed"];

const NEXT = {
  sending: new Set(["queued", "thinking", "streaming", ...ENDS]),
  queued: new Set(["thinking", "streaming", "stopping", ...ENDS]),
  thinking: new Set(["streaming", "stopping", ...ENDS]),
  streaming: new Set(["stopping", ...ENDS]),
  stopping: new Set(ENDS),
  completed: new Set(),
  stopped: new Set(),
  interrupted: new Set(),
  failed: new Set(),
};

const END_STATES = {
  completed: "completed",
  length: "completed",
  stopped: "stopped",
  disconnected: "stopped",
  shutdown: "stopped",
  interrupted: "interrupted",
};

export function mayFollow(from, to) {
  return NEXT[from]?.has(to) ?? false;
}

export function isEnded(state) {
  return ENDS.includes(state);
}

/** The state in which a stream ends for this reason; a reason we do not know is a failure. */
export function endState(reason) {
  return END_STATES[reason] ?? "failed";
}
