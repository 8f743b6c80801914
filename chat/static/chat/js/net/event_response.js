/** One response of `GET …/events/`: read to its end, frame by frame, with a watchdog. */

import { SseDecoder } from "../core/sse.js";
import { callerHeader, eventsUrl, refusal } from "./api.js";

const SILENCE_MS = 40_000; // the server sends a ping every 15 s
const QUIET_MS = 250;

/**
 * Reads until the response ends, `signal` aborts, or, with `untilQuiet`, what was stored has been read.
 *
 * Throws an `ApiError` for a refusal, any other error for a broken or silent connection. `opened()` is called when
 * the server has accepted, `deliver(frames)` with the frames of each read, in order; what it throws ends the reading.
 */
export async function readEvents({ sessionId, after, signal, untilQuiet, opened, deliver }) {
  const own = new AbortController();
  const end = AbortSignal.any([signal, own.signal]);
  const bark = () => own.abort(new Error("the connection is silent"));
  let watchdog = setTimeout(bark, SILENCE_MS);
  try {
    const response = await fetch(eventsUrl(sessionId, after), {
      headers: { ...callerHeader(), Accept: "text/event-stream" },
      cache: "no-store",
      signal: end,
    });
    if (!response.ok) throw await refusal(response);
    opened();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const decoder = new SseDecoder();
    let delivered = after !== null;
    for (;;) {
      const next = untilQuiet && delivered ? await orQuiet(reader.read()) : await reader.read();
      if (next === null) return;
      if (next.done) return;
      clearTimeout(watchdog);
      watchdog = setTimeout(bark, SILENCE_MS);
      const frames = decoder.feed(next.value);
      if (frames.length) deliver(frames);
      delivered ||= frames.length > 0;
    }
  } finally {
    clearTimeout(watchdog);
    own.abort();
  }
}

async function orQuiet(reading) {
  reading.catch(() => {}); // abandoned with the connection
  let timer;
  const quiet = new Promise((resolve) => (timer = setTimeout(resolve, QUIET_MS, null)));
  return Promise.race([reading, quiet]).finally(() => clearTimeout(timer));
}
