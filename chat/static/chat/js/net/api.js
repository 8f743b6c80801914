/** The JSON API. Every call answers with the parsed body or throws an `ApiError`. */

const TIMEOUT_MS = 30_000;

/** A refusal, or no answer at all (`status` 0: whether the server did it is not known). `message` is for people. */
export class ApiError extends Error {
  constructor(status, code, message, retryAfterMs = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }

  get mayPass() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

export const api = {
  sessions: ({ search = "", before = "" } = {}) => {
    const query = new URLSearchParams(Object.entries({ search, before }).filter(([, value]) => value));
    return call("GET", `/api/sessions/${query.size ? `?${query}` : ""}`);
  },
  createSession: () => call("POST", "/api/sessions/", {}),
  readSession: (id) => call("GET", `/api/sessions/${id}/`),
  renameSession: (id, title) => call("PATCH", `/api/sessions/${id}/`, { title }),
  deleteSession: (id) => call("DELETE", `/api/sessions/${id}/`),
  sendPrompt: (id, prompt, idempotencyKey) =>
    call("POST", `/api/sessions/${id}/streams/`, { prompt, on_disconnect: "continue" }, { "Idempotency-Key": idempotencyKey }),
  stop: (id, streamId) => call("POST", `/api/sessions/${id}/stop/`, streamId ? { stream_id: streamId } : {}),
};

export function eventsUrl(sessionId, after) {
  return `/api/sessions/${sessionId}/events/${after === null ? "" : `?after=${after}`}`;
}

/** To be read when it is sent: a log-in, be it in another tab, makes a new one. */
export function csrfToken() {
  return cookie("csrftoken");
}

/** Whose page this is. Somebody may have logged in or out in another tab: the server then refuses what this one wants. */
export function callerHeader() {
  const { caller } = document.getElementById("app")?.dataset ?? {};
  return caller ? { "X-Jarvis-Caller": caller } : {};
}

/** The error that a response with a status of 400 or above stands for. */
export async function refusal(response) {
  const { error = {} } = await response.json().catch(() => ({}));
  const message = error.message ?? `The server answered with status ${response.status}.`;
  return new ApiError(response.status, error.code ?? "unknown", message, retryAfterMs(response));
}

async function call(method, url, body, headers = {}) {
  headers = { ...headers, ...callerHeader(), Accept: "application/json" };
  if (method !== "GET") headers["X-CSRFToken"] = csrfToken();
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(url, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (response.ok) return response.status === 204 ? null : await response.json();
  } catch {
    throw new ApiError(0, "unreachable", "The server cannot be reached.");
  }
  throw await refusal(response);
}

function retryAfterMs(response) {
  const seconds = Number.parseFloat(response.headers.get("Retry-After"));
  return Number.isFinite(seconds) ? seconds * 1000 : null;
}

function cookie(name) {
  const pair = document.cookie.split("; ").find((part) => part.startsWith(`${name}=`));
  return pair ? decodeURIComponent(pair.slice(name.length + 1)) : "";
}
