/** Getting something to the server that is busy or cannot be reached for a moment. */

import { backoffMs } from "../core/backoff.js";

const TRIES = 4;
const LONGEST_WAIT_MS = 5_000;

/**
 * What `call` answers; called again after a refusal that `mayPass` allows, or for some seconds. Throws the last
 * `ApiError`. `enough()`: whether nothing more need be tried.
 */
export async function deliver(call, mayPass, enough = () => false) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await call();
    } catch (error) {
      const waitMs = error.retryAfterMs ?? backoffMs(attempt);
      if (enough() || !mayPass(error) || attempt + 1 === TRIES || waitMs > LONGEST_WAIT_MS) throw error;
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }
}
