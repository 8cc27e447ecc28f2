/** Calls of the server's interface. */

/** An answer of the server that says no. */
export class ApiError extends Error {
  constructor(status, code, message, retryS = null) {
    super(message);
    Object.assign(this, { status, code, retryS });
  }

  /** Whether the same request may go well later. */
  get isPassing() {
    return this.status >= 500 || this.status === 429 || this.status === 408;
  }

  /** Whether somebody else is signed in by now than who the request spoke for. */
  get isOfAnother() {
    return this.code === "other-annotator";
  }

  /** Whether it is about who is signed in. */
  get isOfSession() {
    return this.status === 401 || this.isOfAnother;
  }
}

/** No answer of the server at all. */
export class LostConnectionError extends Error {}

const TIMEOUT_S = 45;

/**
 * Who this page speaks for. All pages of a browser share one cookie; by the name that goes with each
 * request the server notices that another of them has signed somebody else in.
 */
export const speaker = { name: null, onother: () => {} };

/** Return what the server answers to a request, as an object. */
export async function call(method, path, body, options = {}) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  const content = body === undefined ? undefined : JSON.stringify(body);
  return (await send(path, { method, headers, body: content, ...options })).json();
}

/** Return the response to a request if it went well; `annotator` is for whom it speaks. */
export async function send(path, { signal, timeoutS = TIMEOUT_S, annotator = speaker.name,
  headers = {}, ...options } = {}) {
  const limits = [AbortSignal.timeout(timeoutS * 1000), ...(signal ? [signal] : [])];
  const own = { "X-Robopref": "1" };
  if (annotator !== null) own["X-Annotator"] = encodeURIComponent(annotator);
  let response;
  try {
    response = await fetch(path,
      { ...options, headers: { ...own, ...headers }, signal: AbortSignal.any(limits) });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new LostConnectionError(`The server does not answer (${error.message}).`);
  }
  if (response.ok) return response;
  const error = await refusal(response);
  if (error.isOfAnother && annotator === speaker.name) speaker.onother();
  throw error;
}

async function refusal(response) {
  const retryS = Number(response.headers.get("retry-after")) || null;
  const { error } = await response.json().catch(() => ({}));
  const message = error?.message ?? `The server answered ${response.status}.`;
  return new ApiError(response.status, error?.code ?? "http", message, retryS);
}

/** Return a new UUID; the browser's own is missing on plain http other than this machine. */
export function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** Wait for a time [s], or until a signal ends it. */
export function pause(seconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}
