/**
 * A conversation's events, for as long as it is open, whatever happens to the network.
 *
 * `deliver(frames)` gets `{type, data, seq}` in the order of the log, without holes; `report(state)` one of
 * `connecting`, `connected`, `reconnecting`, `offline`, `gone` (no such session), `signed_out`. A hidden tab gives its
 * connection back and resumes from its cursor when it is shown.
 */

import { backoffMs } from "../core/backoff.js";
import { ApiError } from "./api.js";
import { readEvents } from "./event_response.js";
import { withConnection } from "./slots.js";

const CATCH_UP_EVERY_MS = 1_500;
const FINAL = { 401: "signed_out", 403: "signed_out", 404: "gone" };

export class Connection {
  #sessionId;
  #deliver;
  #report;
  #cursor = null;
  #claim = true; // take another tab's place, once: a tab that has just been opened, shown or focused
  #live = false;
  #closed = new AbortController();
  #current = new AbortController();

  constructor({ sessionId, deliver, report }) {
    this.#sessionId = sessionId;
    this.#deliver = deliver;
    this.#report = report;
  }

  open() {
    const options = { signal: this.#closed.signal };
    document.addEventListener("visibilitychange", () => document.hidden && this.#current.abort(), options);
    addEventListener("pagehide", () => this.#current.abort(), options);
    for (const type of ["online", "offline"]) addEventListener(type, () => this.retryNow(), options);
    addEventListener("focus", () => this.#focused(), options);
    this.#report("connecting");
    this.#run();
  }

  close() {
    this.#closed.abort();
    this.#current.abort();
  }

  /** Drops the connection and whatever is being waited for; reads on from the cursor at once. */
  retryNow() {
    this.#current.abort();
  }

  async #run() {
    let failures = 0;
    while (!this.#closed.signal.aborted) {
      this.#current = new AbortController();
      const { signal } = this.#current;
      if (document.hidden) {
        await once(document, "visibilitychange", this.#closed.signal);
        this.#claim = true;
        continue;
      }
      const { outcome, waitMs } = await this.#read(signal);
      if (this.#closed.signal.aborted) return;
      if (outcome in FINAL) return this.#report(FINAL[outcome]);
      failures = outcome === "failed" ? failures + 1 : 0;
      // Not asked before: a server on this machine is there without any network.
      if (failures) this.#report(navigator.onLine ? "reconnecting" : "offline");
      await pause(waitMs ?? (failures ? backoffMs(failures - 1) : 0), signal);
    }
  }

  /** One connection, or one turn of catching up: how it ended, and how long to wait then if that was said. */
  async #read(signal) {
    const claim = this.#claim && document.hasFocus();
    this.#claim = false;
    let got = false;
    try {
      const done = await withConnection({
        signal,
        claim,
        work: async (live, inner) => {
          this.#live = live;
          await readEvents({
            sessionId: this.#sessionId,
            after: this.#cursor,
            signal: inner,
            untilQuiet: !live,
            opened: () => this.#report("connected"),
            deliver: (frames) => {
              this.#take(frames);
              got = true;
            },
          });
        },
      });
      if (done === "lost") return { outcome: "ended" };
      if (!this.#live && !signal.aborted) return { outcome: "ended", waitMs: CATCH_UP_EVERY_MS * (0.5 + Math.random()) };
      return { outcome: got || signal.aborted ? "ended" : "failed" };
    } catch (error) {
      if (signal.aborted) return { outcome: "ended" };
      if (error instanceof ApiError && error.status in FINAL) return { outcome: error.status };
      return { outcome: "failed", waitMs: error.retryAfterMs ?? undefined };
    } finally {
      this.#live = false;
    }
  }

  #take(frames) {
    const events = [];
    for (const { type, data, id } of frames) {
      const seq = id === null ? null : Number.parseInt(id, 10);
      if (seq !== null && type !== "snapshot" && this.#cursor !== null) {
        if (seq <= this.#cursor) continue;
        if (seq > this.#cursor + 1) {
          this.#deliver(events);
          throw new Error(`events ${this.#cursor + 1} to ${seq - 1} are missing`); // resume from the cursor
        }
      }
      if (seq !== null) this.#cursor = seq;
      events.push({ type, data: JSON.parse(data), seq });
    }
    this.#deliver(events);
  }

  #focused() {
    if (this.#live) return;
    this.#claim = true;
    this.#current.abort();
  }
}

function once(target, type, signal) {
  return new Promise((resolve) => {
    target.addEventListener(type, resolve, { once: true, signal });
    signal.addEventListener("abort", resolve, { once: true });
  });
}

function pause(ms, signal) {
  if (signal.aborted || ms === 0) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
