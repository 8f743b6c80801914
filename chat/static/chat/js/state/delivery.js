/** Getting a prompt to the server: the same key again and again, so that it is asked once, however often it is sent. */

import { backoffMs } from "../core/backoff.js";
import { api } from "../net/api.js";

const TRIES = 4;
const LONGEST_WAIT_MS = 5_000;

/** What the server answered; throws an `ApiError` when it refuses, or cannot be reached for some seconds. */
export async function deliverPrompt(sessionId, text, key) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await api.sendPrompt(sessionId, text, key);
    } catch (error) {
      const waitMs = error.retryAfterMs ?? backoffMs(attempt);
      if (!error.mayPass || attempt + 1 === TRIES || waitMs > LONGEST_WAIT_MS) throw error;
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }
}
